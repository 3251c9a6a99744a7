// Micro-batches whose rows and heads are shared over tensor ranks, and over context ranks too, against one rank.
#include "base/error.h"
#include "base/expect_error.h"
#include "model/shared_batches.h"

namespace hadal {
namespace {

using namespace hadal::testing;

constexpr AttentionForm kForms[] = {AttentionForm::up_projected, AttentionForm::absorbed};
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

TEST(TensorParallel, InBothFormsOfAttentionWhateverIsRecomputedAndWhereverWRuns) {
  for (const AttentionForm form : kForms) {
    for (const Recompute recompute : kRecomputes) {
      for (const int64_t q_rank : {10, 0}) {
        SharedCase c = tensor_case(2);
        c.config.q_lora_rank = q_rank;
        c.options.attention_form = form;
        c.options.recompute = recompute;
        c.actions = halves_apart();
        EXPECT_EQ(difference(c), "") << enum_name(form) << " " << enum_name(recompute) << " " << q_rank;
      }
    }
  }
}

TEST(TensorAndContextParallel, GiveTheLossesAndGradientsOfOneRank) {
  for (const auto& [tensor, context] : {std::pair(2, 2), {2, 3}, {4, 2}})
    EXPECT_EQ(difference(tensor_case(tensor, context)), "") << tensor << " x " << context;
}

TEST(TensorAndContextParallel, InBothFormsOfAttentionWhateverIsRecomputed) {
  for (const AttentionForm form : kForms) {
    for (const Recompute recompute : kRecomputes) {
      SharedCase c = tensor_case(2, 2, false);
      c.options.attention_form = form;
      c.options.recompute = recompute;
      EXPECT_EQ(difference(c), "") << enum_name(form) << " " << enum_name(recompute);
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
