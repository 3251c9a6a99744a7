// NaN on one rank of several, in its weights or in what it is sent: no rank updates anything, all say the same, and the
// next step is that of ranks to which nothing happened.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/testing.h"
#include "comm/faulty_transport.h"
#include "comm/rank_threads.h"
#include "train/rank_place.h"
#include "train/spread_case.h"

namespace hadal {
namespace {

using namespace hadal::testing;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Plant {
  const char* layout;
  int rank;                          // that has it
  std::vector<const char*> weights;  // in which it stands
  std::vector<const char*> said;     // of why the step was skipped
  float value = kNaN;                // of their first element; a finite one of all
  const char* operation = nullptr;   // or it stands in a message to the rank, the one of so called ones
  int64_t number = 0;                // with this number
  friend void PrintTo(const Plant& one, std::ostream* to) {
    *to << one.layout << ", " << (one.operation ? one.operation : one.weights[0]);
  }
};

// What a rank has behind a step.
struct Left {
  std::string skipped;
  std::vector<double> state;  // weights, masters, moments, averages
  int64_t updates = 0;
};

Config config_of(const Plant& one) {
  Config config = spread_case(one.layout, Precision::fp32).config;
  config.model.n_dense_layers = 1, config.model.n_layers = 4;
  config.optim.ema_decay = 0.5;
  return config;
}

// One of the ranks, from its start.
class RankRig {
 public:
  RankRig(const Config& config, const std::shared_ptr<Transport>& transport)
      : config_(config),
        place_(config.model, config.parallel, transport),
        model_(config.model, model_options(config, true), owned_.exec, place_.share()) {
    model_.initialize(owned_.exec, 3);
    sharding_ = std::make_unique<Sharding>(owned_.exec, place_.placement(), model_.parameters(), transport);
    optimizer_ = std::make_unique<Optimizer>(*sharding_, config.optim, owned_.exec);
  }
  Left left(const std::string& skipped = "") {
    sharding_->await_values(owned_.exec);
    std::vector<Tensor> tensors;
    for (const Parameter* p : model_.parameters()) tensors.insert(tensors.end(), {p->master, p->value.plain});
    for (const StateTensor& entry : optimizer_->state()) tensors.push_back(entry.tensor);
    Left left{skipped, {}, optimizer_->steps_done()};
    for (const Tensor& tensor : tensors)
      for (int64_t i = 0; i < tensor.count(); ++i) left.state.push_back(element(tensor, i));
    return left;
  }
  Left step(int64_t number) {
    const auto batch = batch_of({9, 4, 12, 7});
    return left(train_step(owned_.exec, model_, *optimizer_, config_, batch, number, {.place = &place_}).skipped);
  }
  // The first element, or with a finite value all of them; gives what was there.
  std::vector<double> put(const char* name, const std::vector<double>& values) {
    const Tensor& weight = model_.parameter(name).master;
    std::vector<double> before;
    for (size_t i = 0; i < values.size(); ++i) {
      before.push_back(element(weight, int64_t(i)));
      set_element(weight, int64_t(i), values[i]);
    }
    model_.refresh_values(owned_.exec);
    return before;
  }
  int64_t size_of(const char* name) const { return model_.parameter(name).master.count(); }

 private:
  Config config_;
  OwnedExec owned_{1};
  RankPlace place_;
  Transformer model_;
  std::unique_ptr<Sharding> sharding_;
  std::unique_ptr<Optimizer> optimizer_;
};

// Puts NaN into one message while `active`.
std::shared_ptr<Transport> planted(const Plant& one, std::shared_ptr<Transport> transport, const bool& active) {
  if (!one.operation || transport->rank() != one.rank) return transport;
  return std::make_shared<FaultyTransport>(std::move(transport), [&one, &active](int, int, Message& message) {
    if (active && has(message.label.operation, one.operation) && message.label.number == one.number)
      std::memcpy(message.data.get(), &kNaN, sizeof kNaN);
  });
}

class NaNIn : public ::testing::TestWithParam<Plant> {};

TEST_P(NaNIn, OneRankSkipsTheStepOnAll) {
  const Plant& one = GetParam();
  const Config config = config_of(one);
  const auto n = size_t(config.parallel.ranks());
  std::vector<Left> before(n), skipped(n), next(n), clean(n);
  run_rank_threads(int(n), [&](std::shared_ptr<Transport> transport) {
    const auto rank = size_t(transport->rank());
    bool active = true;
    RankRig rig(config, planted(one, transport, active));
    std::vector<std::vector<double>> kept;
    for (const char* name : one.weights)
      if (int(rank) == one.rank)
        kept.push_back(rig.put(
            name, std::vector<double>(std::isfinite(one.value) ? size_t(rig.size_of(name)) : 1, double(one.value))));
    before[rank] = rig.left();
    skipped[rank] = rig.step(1);
    active = false;
    for (size_t i = 0; i < kept.size(); ++i) rig.put(one.weights[i], kept[i]);
    next[rank] = rig.step(2);
  });
  run_rank_threads(int(n), [&](std::shared_ptr<Transport> transport) {
    clean[size_t(transport->rank())] = RankRig(config, transport).step(2);
  });
  for (const char* said : one.said) EXPECT_TRUE(has(skipped[0].skipped, said)) << skipped[0].skipped;
  for (size_t rank = 0; rank < n; ++rank) {
    SCOPED_TRACE(rank);
    EXPECT_EQ(skipped[rank].skipped, skipped[0].skipped);
    ASSERT_EQ(skipped[rank].state.size(), before[rank].state.size());
    EXPECT_EQ(std::memcmp(skipped[rank].state.data(), before[rank].state.data(), before[rank].state.size() * 8), 0);
    EXPECT_EQ(skipped[rank].updates, 0);
    EXPECT_EQ(next[rank].skipped, "");
    EXPECT_EQ(next[rank].state, clean[rank].state);
    EXPECT_NE(next[rank].state, before[rank].state);
    EXPECT_EQ(next[rank].updates, 1);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Weights, NaNIn,
    ::testing::Values(
        Plant{"dp=2", 1, {"layers.1.attention.o"}, {"layers.1.attention.o holds NaN or Inf on rank 1"}},
        Plant{"dp=3",
              2,
              {"layers.0.ffn.up", "layers.0.ffn.down"},
              {"layers.0.ffn.down is the first linear whose output is not finite on rank 2"},
              1e25f},
        Plant{"pp=2",
              1,
              {"layers.3.moe.router"},
              {"the router's logits of token", "in layer 3: layers.3.moe.router holds NaN or Inf on rank 1"}},
        Plant{"pp=2", 0, {"layers.0.ffn.down"}, {"layers.0.ffn.down holds NaN or Inf on rank 0"}},
        Plant{"dp=2,ep=2", 1, {"layers.3.moe.experts.down"}, {"layers.3.moe.experts.down holds NaN or Inf on rank 1"}},
        Plant{"tp=2", 1, {"layers.1.attention.o"}, {"layers.1.attention.o holds NaN or Inf on rank 1"}},
        Plant{"cp=2", 1, {"final_norm"}, {"final_norm holds NaN or Inf on rank 1"}},
        Plant{"dp=2,pp=2,ep=2,schedule=dualpipe",
              3,
              {"layers.1.attention.kv_a"},
              {"layers.1.attention.kv_a holds NaN or Inf on rank 3"}}));

// All weights are finite; what they make is not, from this linear on. Of ranks that see it the one that computes it
// first in the model is named: under DualPipe the first rank holds the last stage too, and experts of other ranks are
// sent what is not finite.
Plant overflow(const char* layout, int rank, const char* said) {
  return {layout, rank, {"layers.0.ffn.up", "layers.0.ffn.down"}, {said}, 1e25f};
}

INSTANTIATE_TEST_SUITE_P(
    Outputs, NaNIn,
    ::testing::Values(overflow("tp=2", 1, "layers.0.ffn.down is the first linear whose output is not finite on rank 1"),
                      overflow("cp=2", 1, "layers.0.ffn.down is the first linear whose output is not finite on rank 1"),
                      overflow("pp=2", 0, "layers.0.ffn.down is the first linear whose output is not finite on rank 0"),
                      overflow("dp=2,ep=2", 1,
                               "layers.0.ffn.down is the first linear whose output is not finite on rank 1"),
                      overflow("pp=2,schedule=dualpipe", 1,
                               "layers.0.ffn.down is the first linear whose output is not finite on rank 1"),
                      overflow("dp=2,pp=2,ep=2,schedule=dualpipe", 3,
                               "layers.0.ffn.down is the first linear whose output is not finite on rank 3"),
                      Plant{"dp=2,tp=2,pp=2",
                            6,
                            {"layers.3.attention.o", "layers.3.attention.kv_b"},
                            {"layers.3.attention.o is the first linear whose input is not finite on rank 6"},
                            1e25f}));

INSTANTIATE_TEST_SUITE_P(
    Messages, NaNIn,
    ::testing::Values(
        Plant{"pp=2", 1, {}, {"the router's logits of token"}, kNaN, "pipeline activations"},
        Plant{"pp=2", 0, {}, {"the gradient of layers.", "holds NaN or Inf"}, kNaN, "pipeline gradients"},
        Plant{"dp=2,ep=2", 1, {}, {"the router's logits of token"}, kNaN, "all_to_all of experts from rank 0", 1},
        Plant{"tp=2", 1, {}, {"the router's logits of token"}, kNaN, "reduce_scatter of tensor from rank 0"},
        Plant{"dp=2", 1, {}, {"the gradient of ", "holds NaN or Inf"}, kNaN, "reduce_scatter of holders 0 1"}));

}  // namespace
}  // namespace hadal
