// What a step must hold whatever its numbers: NaN is a value that is decided upon once, and every gradient gets the
// contributions that were counted.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "train/small_step.h"

namespace hadal {
namespace {

using namespace hadal::testing;

// Numbers flow through the other micro-batches too, the step is decided once, and nothing moves: no weight, no moment,
// no bias. The next batch goes on as if this one had never been.
TEST(Step, NaNInOneMicroBatchOfFourSkipsTheStepOnceAndLeavesEverythingAsItWas) {
  for (const char* at : {"router", "loss"}) {
    auto config = small_config(Precision::fp32);
    config.train.micro_batch_sequences = 1;
    Rig s(config), clean(config);
    const auto state_of = [](Rig& r) {
      std::vector<Tensor> tensors;
      for (const Parameter* p : r.model.parameters()) tensors.push_back(p->master);
      for (const StateTensor& entry : r.optimizer.state()) tensors.push_back(entry.tensor);
      std::vector<double> state;
      for (const Tensor& tensor : host_copies(tensors))
        for (int64_t i = 0; i < tensor.count(); ++i) state.push_back(element(tensor, i));
      return state;
    };
    auto batch = batch_of({12, 9, 14, 10});
    for (auto& sequence : batch.sequences)
      for (auto& token : sequence.tokens) token = token == 49 ? 3 : token;
    // Token 49 stands in the third micro-batch alone. Its embedding is not a number, so a router meets it; or the model
    // has no token for which that can be said, and the loss alone is lost.
    batch.sequences[2].tokens[5] = 49;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    auto& embedding = s.model.parameter("embedding").master;
    const double kept = element(embedding, 49 * 16);
    if (std::string(at) == "router") {
      set_element(embedding, 49 * 16, nan);
    } else {
      batch.sequences[2].targets[5] = 49;
      for (int64_t c = 0; c < 16; ++c) set_element(s.model.parameter("head").master, 49 * 16 + c, 3e38);
    }
    const auto before = state_of(s);
    const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, batch, 1);
    if (std::string(at) == "router") {
      EXPECT_EQ(
          result.skipped,
          "the router's logits of token 5 are not a number (first value nan), in layer 1: embedding holds NaN or Inf");
    } else {
      EXPECT_NE(result.skipped, "");
    }
    const auto after = state_of(s);
    ASSERT_EQ(before.size(), after.size());
    EXPECT_EQ(std::memcmp(before.data(), after.data(), before.size() * 8), 0) << at;
    EXPECT_EQ(s.optimizer.steps_done(), 0);
    if (std::string(at) != "router") continue;
    set_element(embedding, 49 * 16, kept);
    const auto next = batch_of({11, 13});
    const auto one = train_step(s.owned.exec, s.model, s.optimizer, s.config, next, 2),
               two = train_step(clean.owned.exec, clean.model, clean.optimizer, clean.config, next, 2);
    EXPECT_EQ(one.norms.global, two.norms.global);
    EXPECT_EQ(state_of(s), state_of(clean));
    EXPECT_NE(state_of(s), before);
  }
}

TEST(Step, EveryParameterGetsTheContributionsThatWereCounted) {
  for (const bool tied : {false, true})
    for (const int64_t experts : {4, 0})
      for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
        auto config = small_config(Precision::fp32);
        config.model.tie_embeddings = tied;
        config.model.n_routed_experts = experts;
        config.model.n_mtp = 2;
        config.train.recompute = recompute;
        config.train.micro_batch_sequences = 1;
        Rig s(config);
        // Sequences of 1 and 2 tokens: MTP depths without rows among the micro-batches.
        train_step(s.owned.exec, s.model, s.optimizer, s.config, batch_of({12, 1, 2, 9}), 1);
        for (const Parameter* p : s.model.parameters()) {
          if (!p->spec.trained) continue;
          EXPECT_EQ(p->arrived(), p->expected()) << p->spec.name;
          const int64_t uses = p->spec.name == "embedding" ? 3 + (tied ? 3 : 0) : p->spec.name == "head" ? 3 : 1;
          EXPECT_EQ(p->expected(), 4 * uses) << p->spec.name;  // embedding: the model's and two depths'; head likewise
        }
      }
}

}  // namespace
}  // namespace hadal
