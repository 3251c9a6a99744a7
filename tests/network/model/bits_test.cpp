// What must not change a single bit: recomputation, threads, packing, chunked generation, the moment at which W runs.
#include "model/parts.h"
#include "model/small_model.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

using namespace hadal::testing;

constexpr Precision kPrecisions[] = {Precision::fp64, Precision::fp32, Precision::bf16};
constexpr AttentionForm kForms[] = {AttentionForm::up_projected, AttentionForm::absorbed};

struct Outcome {
  double loss;
  uint64_t gradients;
  std::vector<std::vector<int64_t>> load;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome(const ModelConfig& config, const ModelOptions& options, int threads) {
  SmallModel small(config, options, threads);
  const LossWeights weights = loss_weights(config);
  LossSums sums = small.model.forward_backward(make_batch({{70, 9}, {1, 80}}, true), weights);
  return {sums.total(weights), gradient_hash(small.model), sums.expert_load};
}

TEST(ModelBits, RecomputationChangesNothing) {
  for (const Precision precision : kPrecisions) {
    for (const AttentionForm form : kForms) {
      for (const int64_t q_rank : {10, 0}) {
        ModelConfig config = small_config();
        config.q_lora_rank = q_rank;
        ModelOptions options = training_options(precision);
        options.attention_form = form;
        const Outcome expected = outcome(config, options, 2);
        for (const Recompute recompute : {Recompute::norms, Recompute::all}) {
          options.recompute = recompute;
          EXPECT_EQ(outcome(config, options, 2), expected);
        }
      }
    }
  }
}

TEST(ModelBits, ThreadsChangeNothing) {
  for (const Precision precision : kPrecisions) {
    const ModelOptions options = training_options(precision);
    const Outcome expected = outcome(small_config(), options, 1);
    for (const int threads : {2, 3, 7}) EXPECT_EQ(outcome(small_config(), options, threads), expected);
  }
}

TEST(ModelBits, ADocumentHasTheSameLogProbabilitiesPackedAndAlone) {
  for (const Precision precision : kPrecisions) {
    for (const AttentionForm form : kForms) {
      ModelOptions options;
      options.precision = precision;
      options.attention_form = form;
      SmallModel small(small_config(), options);
      const MicroBatch packed = make_batch({{33, 70}, {5, 1, 90}}, true);
      std::vector<double> together;
      small.model.forward(packed, &together);
      for (const ops::Segment& s : packed.segments) {
        MicroBatch alone;
        auto part = [&](const std::vector<int32_t>& all) {
          return std::vector<int32_t>(all.begin() + s.q_begin, all.begin() + s.q_begin + s.n_q);
        };
        alone.tokens = part(packed.tokens), alone.positions = part(packed.positions),
        alone.targets = part(packed.targets);
        alone.segments = {{0, s.n_q, 0, s.n_q}};
        alone.sequences = {{0, s.n_q}};
        std::vector<double> log_probs;
        small.model.forward(alone, &log_probs);
        EXPECT_EQ(log_probs, std::vector<double>(together.begin() + s.q_begin, together.begin() + s.q_begin + s.n_q));
      }
    }
  }
}

TEST(ModelBits, GenerationFromTheCacheEqualsTheFullForward) {
  for (const Precision precision : kPrecisions) {
    for (const AttentionForm form : kForms) {
      ModelOptions options;
      options.precision = precision;
      options.attention_form = form;
      SmallModel small(small_config(), options);
      MicroBatch batch = make_batch({{150}}, false);
      std::vector<double> expected;
      small.model.forward(batch, &expected);
      for (const std::vector<int64_t>& steps : {std::vector<int64_t>{1, 1, 1, 1}, {64, 1, 1, 60, 5}, {130, 7}, {149}}) {
        const auto cache = small.model.new_cache(150);
        int64_t done = 0;
        for (int64_t n : steps) {
          const std::vector<float> logits =
              small.model.extend(*cache, std::span(batch.tokens).subspan(size_t(done), size_t(n)));
          done += n;
          if (precision == Precision::fp64) {  // logits come as f32
            double sum = 0;
            for (float l : logits) sum += std::exp(double(l));
            EXPECT_NEAR(double(logits[size_t(batch.tokens[size_t(done)])]) - std::log(sum), expected[size_t(done - 1)],
                        1e-6);
            continue;
          }
          const Tensor row = Tensor::from(small.owned.exec, logits, {1, 37}),
                       loss = Tensor::empty(small.owned.exec, DType::f32, {1});
          const int32_t target = batch.tokens[size_t(done)];
          ops::cross_entropy(small.owned.exec, row, std::span(&target, 1), 1.0, loss, false);
          EXPECT_EQ(-element(loss, 0), expected[size_t(done - 1)]) << "after " << done << " tokens";
        }
      }
    }
  }
}

// A block alone: B must leave every gradient as it was, W may run any time later and empties what was saved.
TEST(ModelBits, BackwardInputTouchesNoGradientAndBackwardWeightMayRunLater) {
  for (const AttentionForm form : kForms) {
    for (const Recompute recompute : {Recompute::none, Recompute::norms, Recompute::all}) {
      SmallModel small(small_config(), training_options(Precision::fp32));
      const Exec& exec = small.owned.exec;
      const ModelParts parts =
          wire_model(small_config(), [&](const std::string& name) { return &small.model.parameter(name); });
      PartClock clock;
      const hadal::Run run{exec, clock, DType::f32, form, recompute, rope_table(exec, small_config(), DType::f32, 64),
                           true, 0.1};
      const MicroBatch batch = make_batch({{20, 11}}, true);
      const Rows rows{batch.positions, &batch.segments, batch.sequences, nullptr, 0};
      const Tensor x = parts.embedding.forward(exec, batch.tokens, DType::f32);
      for (size_t layer : {size_t(0), size_t(1)}) {
        const Block& block = parts.layers[layer];
        Block::Saved saved;
        const Tensor y = block.forward(run, rows, x, saved);
        small.model.zero_gradients();
        const Tensor dx = block.backward(run, rows, y, saved);
        const uint64_t at_once = gradient_hash(small.model);

        small.model.zero_gradients();
        const uint64_t untouched = gradient_hash(small.model);
        Block::Saved first, second;  // two micro-batches in flight, their W after both B
        block.forward(run, rows, x, first);
        block.forward(run, rows, x, second);
        const Tensor dx_first = block.backward_input(run, rows, y, first);
        block.backward_input(run, rows, y, second);
        EXPECT_EQ(gradient_hash(small.model), untouched);
        EXPECT_EQ(std::memcmp(dx_first.raw(), dx.raw(), size_t(dx.bytes())), 0);
        block.backward_weight(run, first);
        EXPECT_EQ(gradient_hash(small.model), at_once);
        EXPECT_FALSE(first.attention.mla.o || first.attention.norm.x || first.ffn.norm.x ||
                     first.ffn.moe.routing.scores);
        block.backward_weight(run, second);
        EXPECT_NE(gradient_hash(small.model), at_once);
      }
    }
  }
}

}  // namespace
}  // namespace hadal
