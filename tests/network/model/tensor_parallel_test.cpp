// Micro-batches whose rows and heads are shared over tensor ranks, and over context ranks too, against one rank.
#include "base/error.h"
#include "base/expect_error.h"
#include "model/shared_batches.h"

namespace hadal {
namespace {

using namespace hadal::testing;

constexpr Recompute kRecomputes[] = {Recompute::none, Recompute::norms, Recompute::all};

SharedCase tensor_case(int64_t tensor, int64_t context = 1, bool masked = true) {
  SharedCase c{.config = four_heads(), .batches = odd_batches(masked)};
  c.tensor = tensor, c.context = context;
  return c;
}

TEST(TensorParallel, GivesTheLossesAndGradientsOfOneRank) {
  for (const int64_t ranks : {2, 3, 4})
    for (const bool masked : {true, false}) EXPECT_EQ(difference(tensor_case(ranks, 1, masked)), "") << ranks << masked;
}

TEST(TensorParallel, InEveryAttentionWhateverIsRecomputedAndWhereverWRuns) {
  for (const Attention& attention : kAttentions) {
    for (const Recompute recompute : kRecomputes) {
      for (const int64_t q_rank : {10, 0}) {
        SharedCase c = tensor_case(2);
        c.config = attention.in(c.config, 3);
        if (c.config.is_latent()) c.config.q_lora_rank = q_rank;
        c.options.attention_form = attention.form;
        c.options.recompute = recompute;
        c.actions = halves_apart();
        EXPECT_EQ(difference(c), "") << attention.text() << " " << enum_name(recompute) << " " << q_rank;
      }
    }
  }
}

TEST(TensorAndContextParallel, GiveTheLossesAndGradientsOfOneRank) {
  for (const auto& [tensor, context] : {std::pair(2, 2), {2, 3}, {4, 2}})
    EXPECT_EQ(difference(tensor_case(tensor, context)), "") << tensor << " x " << context;
}

TEST(TensorAndContextParallel, InEveryAttentionWhateverIsRecomputed) {
  for (const Attention& attention : kAttentions) {
    for (const Recompute recompute : kRecomputes) {
      SharedCase c = tensor_case(2, 2, false);
      c.config = attention.in(c.config);
      c.options.attention_form = attention.form;
      c.options.recompute = recompute;
      EXPECT_EQ(difference(c), "") << attention.text() << " " << enum_name(recompute);
    }
  }
}

TEST(TensorAndContextParallel, WithExpertsSpreadOverTheirRanks) {
  for (const auto& [tensor, context] : {std::pair(2, 1), {1, 2}, {2, 2}, {4, 2}}) {
    for (const Recompute recompute : kRecomputes) {
      SharedCase c = tensor_case(tensor, context);
      c.spread_experts = true;
      c.options.recompute = recompute;
      if (recompute == Recompute::none) c.actions = halves_apart();
      EXPECT_EQ(difference(c), "") << tensor << " x " << context << " " << enum_name(recompute);
    }
  }
}

// Rows enough to travel in several parts.
TEST(TensorParallel, WithRowsInParts) {
  SharedCase c = tensor_case(2);
  c.batches = {make_batch({{180, 13}}, true)};
  EXPECT_EQ(difference(c), "");
  c.options.recompute = Recompute::all;
  c.tensor = 3;
  EXPECT_EQ(difference(c), "");
}

TEST(TensorParallel, WithATiedOrAWholeVocabulary) {
  for (const bool tied : {true, false}) {
    for (const bool apart : {true, false}) {
      SharedCase c = tensor_case(3, 2);
      c.config.tie_embeddings = tied;
      c.whole_vocabulary = !tied;
      if (apart) c.actions = halves_apart();
      EXPECT_EQ(difference(c), "") << tied << apart;
    }
  }
}

TEST(TensorParallel, StaysWithinRoundingInFp32) {
  SharedCase c = tensor_case(2, 2);
  c.options = training_options(Precision::fp32);
  const Found one = alone(c);
  c.replay = true;
  EXPECT_EQ(difference(one, together(c, one.routes), 1e-5), "");
}

// Sums over ranks are made in FP32: nothing comes to lie further from the exact gradients for them.
TEST(TensorParallel, IsAsNearToTheExactGradientsAsOneRankInBf16) {
  SharedCase c = tensor_case(4, 2);
  const Found exact = alone(c);
  c.options = training_options(Precision::bf16);
  c.replay = true;
  const Found one = together({.config = c.config, .options = c.options, .batches = c.batches, .replay = true},
                             exact.routes),
              many = together(c, exact.routes);
  const auto distance = [&](const Found& found, const std::string& name) {
    double sum = 0;
    for (size_t i = 0; i < exact.gradients.at(name).size(); ++i)
      sum += std::pow(found.gradients.at(name)[i] - exact.gradients.at(name)[i], 2);
    return std::sqrt(sum);
  };
  double of_one = 0, of_many = 0;
  for (const auto& [name, gradient] : exact.gradients) {
    const double a = distance(one, name), b = distance(many, name);
    of_one += a * a, of_many += b * b;
  }
  EXPECT_LE(std::sqrt(of_many), 1.02 * std::sqrt(of_one));
}

// What a rank sends in a step of one sequence of n rows, in numbers: no row twice, the latents once each way, and what
// recomputation dropped once more.
TEST(TensorAndContextParallel, SendWhatTheFormulaSays) {
  const int64_t n = 48, t = 2, c = 3, own = n / (t * c);
  for (const Recompute recompute : kRecomputes) {
    SharedCase shared = tensor_case(t, c);
    const ModelConfig& m = shared.config;
    shared.config.n_mtp = 0;
    shared.config.vocab_size = 40;
    shared.options.recompute = recompute;
    shared.batches = {make_batch({{n}}, false)};
    const int64_t latents_again = recompute == Recompute::none ? 2 : 3, layers = m.n_layers;
    const int64_t key = m.kv_lora_rank + m.qk_rope_head_dim, moe = layers - m.n_dense_layers, dense = m.n_dense_layers;
    const int64_t hidden_rows = (t - 1) * own * m.hidden_size;
    const int64_t over_tensor = layers * (latents_again * ((t - 1) * own * m.q_lora_rank + (t - 1) * n / t * key) +
                                          2 * hidden_rows) +  // y and dy
                                dense * (2 + latents_again) * hidden_rows +
                                4 * hidden_rows +      // embeddings, states, and their gradients
                                (t - 1) * n / c * 4 +  // what is known of a row of logits, of those with a target
                                moe * 2 * (t - 1) * m.n_routed_experts / t;
    const int64_t over_context = layers * latents_again * (c - 1) * own * key;
    on_shared_ranks(shared, [&](SmallModel& small, const Partners& partners) {
      std::vector<RouteReplay> routes(1);
      run_step(shared, small, routes);
      const int64_t r = partners.context->rank();
      const int64_t last_row = r == 0 ? (t - 1) * 4 : 0;  // has no target; the first rank holds both ends
      EXPECT_EQ(partners.tensor->traffic().bytes, 8 * (over_tensor - last_row)) << enum_name(recompute);
      const int64_t e = m.n_routed_experts, share = e * (r + 1) / c - e * r / c;
      const int64_t counts = moe * (e - share + (c - 1) * share);  // to those who add up, and the sums to all
      EXPECT_EQ(partners.context->traffic().bytes, 8 * (over_context + counts)) << enum_name(recompute);
    });
  }
}

TEST(TensorAndContextParallel, EstimateTheMemoryOfARank) {
  for (const auto& [tensor, context] : {std::pair(2, 1), {1, 2}, {2, 2}}) {
    for (const Attention& attention : kAttentions) {
      for (const Recompute recompute : kRecomputes) {
        if (attention.form == AttentionForm::absorbed && tensor * context == 2) continue;  // both ways at once will do
        SharedCase c = tensor_case(tensor, context);
        c.config = memory_config();
        c.config.n_heads = 4;
        c.config = attention.in(c.config, 4, 24);
        c.options = training_options(Precision::fp32);
        c.options.attention_form = attention.form;
        c.options.recompute = recompute;
        c.options.loss_chunk_tokens = 256;
        c.batches = {make_batch({{256}, {256}, {256}, {256}, {256}}, false, 300)};
        on_shared_ranks(c, [&](SmallModel& small, const Partners&) {
          std::vector<RouteReplay> routes(1);
          run_step(c, small, routes);
          double estimate = double(small.model.moving_bytes(1280, 256, 1, one_stage(1), {c.tensor, c.context}));
          for (const Parameter* p : small.model.parameters()) estimate += double(p->master.bytes() + p->grad.bytes());
          const double taken = double(small.owned.exec.memory->peak_bytes());
          EXPECT_NEAR(estimate / taken, 1.0, 0.1)
              << c.tensor << " x " << c.context << ", recompute " << enum_name(recompute) << ", " << attention.text();
        });
      }
    }
  }
}

TEST(TensorParallel, IsNotEqualWhenAChunkIsLost) {
  for (const std::string operation : {"all_gather", "reduce_scatter"}) {
    for (const int which : {0, 1, 4}) {
      SharedCase c = tensor_case(2);
      c.wrap = spoil(operation, which);
      EXPECT_NE(difference(c), "") << operation << " " << which;
    }
  }
}

TEST(TensorParallel, CountsTheChoicesOfWholeSequencesForTheBalanceLoss) {
  SharedCase c = tensor_case(2);
  c.wrap = spoil("all_reduce");
  EXPECT_EQ(difference(c), "balance loss");
}

TEST(TensorParallel, RefusesBoxesThatDoNotFitThePartners) {
  run_rank_threads(2, [](std::shared_ptr<Transport> transport) {
    Group tensor(transport, "tensor");
    ModelShare share;
    share.partners.tensor = &tensor;
    SmallModel small(four_heads(), training_options(Precision::fp64), 1, best_isa(), share);
    EXPECT_ERROR(small.forward(make_batch({{5}}, false)), ErrorKind::internal, "layers.0.attention.q_b",
                 "tensor ranks");
  });
}

}  // namespace
}  // namespace hadal
