// Micro-batches whose rows are shared over context ranks, against one rank.
#include "base/error.h"
#include "base/expect_error.h"
#include "model/shared_batches.h"

namespace hadal {
namespace {

using namespace hadal::testing;

constexpr Recompute kRecomputes[] = {Recompute::none, Recompute::norms, Recompute::all};

SharedCase context_case(int64_t ranks, bool masked = true) {
  SharedCase c{.config = small_config(), .batches = odd_batches(masked)};
  c.context = ranks;
  return c;
}

TEST(ContextParallel, GivesTheLossesAndGradientsOfOneRank) {
  for (const int64_t ranks : {2, 3})
    for (const bool masked : {true, false}) EXPECT_EQ(difference(context_case(ranks, masked)), "") << ranks << masked;
}

TEST(ContextParallel, InEveryAttentionWhateverIsRecomputedAndWhereverWRuns) {
  for (const Attention& attention : kAttentions) {
    for (const Recompute recompute : kRecomputes) {
      SharedCase c = context_case(2);
      c.config = attention.in(c.config);
      c.options.attention_form = attention.form;
      c.options.recompute = recompute;
      c.actions = halves_apart();
      EXPECT_EQ(difference(c), "") << attention.text() << " " << enum_name(recompute);
    }
  }
}

TEST(ContextParallel, WithDirectQueriesSoftmaxRoutingAndTiedEmbeddings) {
  SharedCase c = context_case(3);
  c.config.q_lora_rank = 0;
  c.config.score_function = ScoreFunction::softmax;
  c.config.group_score = GroupScore::max;
  c.config.selection_bias = false;
  c.config.n_shared_experts = 0;
  c.config.tie_embeddings = true;
  EXPECT_EQ(difference(c), "");
}

TEST(ContextParallel, ReadsAndRecordsRoutesOfTheWholeMicroBatch) {
  SharedCase c = context_case(2);
  const Found one = alone(c);
  std::vector<RouteReplay> others = one.routes;
  for (RouteReplay& route : others)
    for (auto& experts : route.experts)
      for (size_t i = 0; i < experts.size(); i += 3) experts[i] = 0, experts[i + 1] = 3, experts[i + 2] = 6;
  c.replay = true;
  SharedCase replayed = c;
  const Found many = together(replayed, others);
  EXPECT_EQ(many.routes[0].experts, others[0].experts);
  SmallModel small(c.config, c.options, 1);
  for (RouteReplay& route : others) route.replay = true;
  Found wanted;
  wanted.sums = run_step(c, small, others);
  wanted.routes = others;
  for (const Parameter* p : small.model.parameters())
    if (p->grad) add_gradient(*p, wanted.gradients[p->spec.name]);
  EXPECT_EQ(difference(wanted, many, 1e-9), "");
}

// Every row's loss, and so its hidden state, has the bits of one rank.
TEST(ContextParallel, KeepsTheBitsOfEveryRowsLoss) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    for (const Attention& attention : kAttentions) {
      SharedCase c = context_case(3);
      c.config = attention.in(wide_config());
      c.options = ModelOptions{.precision = precision, .attention_form = attention.form};
      if (attention.form == AttentionForm::up_projected && precision == Precision::bf16)
        c.options.recipe = Recipe::fp8();
      const MicroBatch batch = make_batch({{70, 9}, {1, 150}}, true);
      SmallModel one(c.config, c.options, 1);
      std::vector<double> wanted, found(size_t(batch.n_tokens()), 0.0);
      one.forward(batch, &wanted);
      std::mutex mutex;
      on_shared_ranks(c, [&](SmallModel& small, const Partners&) {
        std::vector<double> own;
        small.forward(batch, &own);
        const std::lock_guard lock(mutex);
        for (size_t i = 0; i < own.size(); ++i) found[i] += own[i];
      });
      EXPECT_EQ(found, wanted) << enum_name(precision) << " " << attention.text();
    }
  }
}

TEST(ContextParallel, IsNotEqualWhenAChunkOfLatentsIsLost) {
  SharedCase c = context_case(2);
  c.wrap = spoil("all_gather", 3);
  EXPECT_NE(difference(c), "");
  c.wrap = spoil("reduce_scatter", 3);
  EXPECT_NE(difference(c), "");
}

TEST(ContextParallel, CountsTheChoicesOfWholeSequencesForTheBalanceLoss) {
  SharedCase c = context_case(2);
  c.wrap = spoil("all_reduce");
  EXPECT_EQ(difference(c), "balance loss");
}

TEST(ContextParallel, GeneratesNothing) {
  on_shared_ranks(context_case(2), [&](SmallModel& small, const Partners&) {
    CachedText text = small.new_text(8);
    EXPECT_ERROR(small.extend(text, std::vector<int32_t>{1}), ErrorKind::unsupported, "generates nothing");
  });
}

}  // namespace
}  // namespace hadal
