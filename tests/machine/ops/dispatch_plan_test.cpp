// The plan, and the movement of rows along it: gather, combine and their backwards.
#include <algorithm>

#include "ops/pointwise.h"
#include "ops/routing.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;

std::vector<int32_t> some_experts(int64_t tokens, int64_t top_k, int64_t n_experts, uint64_t seed) {
  std::vector<int32_t> experts;
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> all;
    for (int64_t e = 0; e < n_experts; ++e) all.push_back(int32_t(e));
    random_shuffle(all, seed, uint64_t(t));
    all.resize(size_t(top_k));
    std::sort(all.begin(), all.end());
    experts.insert(experts.end(), all.begin(), all.end());
  }
  return experts;
}

TEST(DispatchPlan, ByHandWithAnEmptyExpert) {
  const std::vector<int32_t> experts = {0, 3, 0, 1, 1, 3};  // three tokens, two slots, expert 2 gets nobody
  const ops::DispatchPlan plan = ops::make_plan(experts, 3, 2, 4);
  EXPECT_EQ(plan.offsets, (std::vector<int64_t>{0, 2, 4, 4, 6}));
  EXPECT_EQ(plan.token, (std::vector<int32_t>{0, 1, 1, 2, 0, 2}));
  EXPECT_EQ(plan.slot, (std::vector<int32_t>{0, 0, 1, 0, 1, 1}));
  EXPECT_EQ(plan.position, (std::vector<int32_t>{0, 4, 1, 2, 3, 5}));
}

TEST(DispatchPlan, DropsNoTokenWhateverTheLoad) {
  std::vector<int32_t> one_for_all;
  for (int i = 0; i < 50; ++i) one_for_all.push_back(7);
  const std::vector<std::pair<std::vector<int32_t>, int64_t>> cases = {
      {some_experts(50, 3, 8, 1), 3}, {one_for_all, 1}, {{}, 2}};
  for (const auto& [experts, top_k] : cases) {
    const int64_t tokens = int64_t(experts.size()) / top_k;
    const ops::DispatchPlan plan = ops::make_plan(experts, tokens, top_k, 8);
    ASSERT_EQ(plan.offsets.size(), 9u);
    EXPECT_EQ(plan.offsets.back(), tokens * top_k);
    std::vector<int32_t> seen(plan.position);
    std::sort(seen.begin(), seen.end());
    for (int64_t i = 0; i < tokens * top_k; ++i) {
      EXPECT_EQ(seen[size_t(i)], i);  // every buffer row once
      const int64_t row = plan.position[size_t(i)], expert = experts[size_t(i)];
      EXPECT_GE(row, plan.offsets[size_t(expert)]);
      EXPECT_LT(row, plan.offsets[size_t(expert) + 1]);
      EXPECT_EQ(plan.token[size_t(row)], i / top_k);
      EXPECT_EQ(plan.slot[size_t(row)], i % top_k);
    }
    for (int64_t e = 0; e < 8; ++e)
      EXPECT_TRUE(std::is_sorted(plan.token.begin() + plan.offsets[size_t(e)],
                                 plan.token.begin() + plan.offsets[size_t(e) + 1]));
  }
  EXPECT_EQ(error_of([] { ops::make_plan(std::vector<int32_t>{0, 8}, 1, 2, 8); }), "expert 1 is 8, expected 0 to 7");
}

struct Rows {
  std::vector<int32_t> experts;  // of 9, in three groups
  ops::DispatchPlan plan;
  Mat x, weights;
  ops::CombineRule rule(DType wire) const { return {experts, 3, wire}; }
};
Rows some_rows(int64_t tokens, int64_t top_k, int64_t cols) {
  const auto experts = some_experts(tokens, top_k, 9, 3);
  return {experts, ops::make_plan(experts, tokens, top_k, 9), random_mat(tokens * top_k, cols, 1),
          random_mat(tokens, top_k, 2)};
}

TEST(Combine, AddsTheWeightedRowsOfEveryToken) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t cols : {1, 19, 64, 130}) {
      for (bool add : {false, true}) {
        Rows a = some_rows(23, 4, cols);
        Mat y = random_mat(23, cols, 9);
        View tx(exec, dtype, a.x), ty(exec, dtype, y);
        Tensor weights = make(exec, wide(dtype), a.weights);
        Mat want = add ? y : Mat(23, cols);
        for (int64_t t = 0; t < 23; ++t)
          for (int64_t s = 0; s < 4; ++s)
            for (int64_t c = 0; c < cols; ++c)
              want.at(t, c) += a.weights.at(t, s) * a.x.at(a.plan.position[size_t(t * 4 + s)], c);
        ops::combine(exec, ty.view, tx.view, a.plan, weights, a.rule(wide(dtype)),
                     add ? ops::Write::add : ops::Write::overwrite);
        expect_close(read(ty.view), want, tolerance(dtype), "y", dtype == DType::f64 ? 1e-14 : 1e-6);
        ty.expect_surroundings_untouched();
      }
    }
  });
}

TEST(Combine, GatherBackwardAddsTheRowsOfEveryToken) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t cols : {1, 19, 64, 130}) {
      const int64_t tokens = 23, k = 3;
      Rows a = some_rows(tokens, k, cols);
      Mat dgathered = random_mat(tokens, cols, 8);
      View tx(exec, dtype, a.x), tg(exec, dtype, dgathered);
      Mat want_sum(tokens, cols), want_added = dgathered;
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t s = 0; s < k; ++s)
          for (int64_t c = 0; c < cols; ++c) {
            const int64_t row = a.plan.position[size_t(t * k + s)];
            want_sum.at(t, c) += a.x.at(row, c), want_added.at(t, c) += a.x.at(row, c);
          }
      const double absolute = dtype == DType::f64 ? 1e-13 : 1e-5;
      ops::gather_backward(exec, tg.view, tx.view, a.plan, a.rule(wide(dtype)), ops::Write::add);
      expect_close(read(tg.view), want_added, tolerance(dtype), "gather added", absolute);
      ops::gather_backward(exec, tg.view, tx.view, a.plan, a.rule(wide(dtype)), ops::Write::overwrite);
      expect_close(read(tg.view), want_sum, tolerance(dtype), "gather", absolute);
      tg.expect_surroundings_untouched();
    }
  });
}

// What a two-hop exchange does: every group sums its own rows on its own, rounds, sends; the token's owner adds groups.
TEST(Combine, EqualsGroupsSummedApartRoundedToTheWireTypeAndAddedInOrder) {
  for (Isa isa : available_isas())
    for (DType wire : {DType::f32, DType::bf16}) {
      OwnedExec owned(2, isa);
      const Exec& exec = owned.exec;
      const int64_t tokens = 40, k = 5, cols = 77;
      Rows a = some_rows(tokens, k, cols);
      Tensor x = make(exec, DType::f32, a.x), weights = make(exec, DType::f32, a.weights);
      Tensor y = Tensor::zeros(exec, DType::f32, {tokens, cols}), dx = y.clone(exec), flat = y.clone(exec);
      ops::combine(exec, y, x, a.plan, weights, a.rule(wire), ops::Write::overwrite);
      ops::gather_backward(exec, dx, x, a.plan, a.rule(wire), ops::Write::overwrite);
      ops::combine(exec, flat, x, a.plan, weights, {a.experts, 9, DType::f32}, ops::Write::overwrite);
      EXPECT_NE(bytes_of(exec, flat), bytes_of(exec, y));  // the control: one flat sum has other bits
      int64_t split = 0;
      for (int64_t t = 0; t < tokens; ++t) {
        Tensor sum = Tensor::zeros(exec, DType::f32, {1, cols}), sum_back = sum.clone(exec);
        for (int64_t s = 0, n; s < k; s += n) {
          for (n = 1; s + n < k && a.experts[size_t(t * k + s + n)] / 3 == a.experts[size_t(t * k + s)] / 3;) ++n;
          split += s > 0;
          std::vector<int32_t> own(size_t(n), 0);  // a group of its own: plain sums, then the rounding of the wire
          ops::DispatchPlan alone{{0, n}, own, own, own};
          for (int64_t i = 0; i < n; ++i) alone.position[size_t(i)] = int32_t(i);
          Tensor rows = Tensor::zeros(exec, DType::f32, {n, cols}), w = Tensor::zeros(exec, DType::f32, {1, n});
          ops::gather_rows(exec, rows, x,
                           std::span<const int32_t>(a.plan.position).subspan(size_t(t * k + s), size_t(n)));
          w.copy_from(weights.row_range(t, 1).col_range(s, n).clone(exec));
          Tensor sent = Tensor::zeros(exec, wire, {1, cols}), sent_back = sent.clone(exec);
          ops::combine(exec, sent, rows, alone, w, {own, 1, DType::f32}, ops::Write::overwrite);
          ops::gather_backward(exec, sent_back, rows, alone, {own, 1, DType::f32}, ops::Write::overwrite);
          ops::add_to(exec, sum, sent);
          ops::add_to(exec, sum_back, sent_back);
        }
        EXPECT_EQ(bytes_of(exec, sum), bytes_of(exec, y.row_range(t, 1))) << isa_name(isa) << " token " << t;
        EXPECT_EQ(bytes_of(exec, sum_back), bytes_of(exec, dx.row_range(t, 1))) << isa_name(isa) << " token " << t;
      }
      EXPECT_GT(split, tokens / 2) << "this test proves nothing unless tokens visit several groups";
    }
}

TEST(Combine, GatherBackwardIsTheDerivativeOfTheGather) {
  OwnedExec owned(1, Isa::reference);
  const Exec& exec = owned.exec;
  const auto experts = some_experts(4, 2, 5, 1);
  const ops::DispatchPlan plan = ops::make_plan(experts, 4, 2, 5);
  Mat x = random_mat(4, 6, 1), c = random_mat(8, 6, 3);
  const auto loss = [&] {
    Tensor sorted = Tensor::zeros(exec, DType::f64, {8, 6});
    ops::gather_rows(exec, sorted, make(exec, DType::f64, x), plan.token);
    return dot(read(sorted), c);
  };
  Tensor dx = Tensor::zeros(exec, DType::f64, {4, 6});
  ops::gather_backward(exec, dx, make(exec, DType::f64, c), plan, {experts, 2, DType::f64}, ops::Write::overwrite);
  expect_gradient(x, read(dx), loss);
}

TEST(Combine, HasTheSameBitsWithAnyNumberOfThreadsAndAnyNeighbours) {
  expect_thread_independent([](const Exec& exec) {
    Rows a = some_rows(300, 4, 100);
    Tensor x = make(exec, DType::f32, a.x), weights = make(exec, DType::f32, a.weights);
    Tensor y = Tensor::zeros(exec, DType::f32, {300, 100}), dg = y.clone(exec);
    ops::combine(exec, y, x, a.plan, weights, a.rule(DType::bf16), ops::Write::overwrite);
    ops::gather_backward(exec, dg, x, a.plan, a.rule(DType::bf16), ops::Write::overwrite);
    // token 200 alone: its rows in its own small buffer give the same bits
    ops::DispatchPlan alone{{0, 4}, {0, 0, 0, 0}, {0, 1, 2, 3}, {0, 1, 2, 3}};
    Tensor rows = Tensor::zeros(exec, DType::f32, {4, 100}), one = Tensor::zeros(exec, DType::f32, {1, 100});
    ops::gather_rows(exec, rows, x, std::span<const int32_t>(a.plan.position).subspan(800, 4));
    ops::combine(exec, one, rows, alone, weights.row_range(200, 1),
                 {std::span<const int32_t>(a.experts).subspan(800, 4), 3, DType::bf16}, ops::Write::overwrite);
    EXPECT_EQ(bytes_of(exec, one), bytes_of(exec, y.row_range(200, 1)));
    return bytes_of(exec, y) + bytes_of(exec, dg);
  });
}

TEST(Combine, RefusesAPlanOfAnotherSize) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  Rows a = some_rows(6, 2, 8);
  Tensor x = make(exec, DType::f32, a.x), weights = make(exec, DType::f32, a.weights);
  Tensor y = Tensor::zeros(exec, DType::f32, {6, 8}), few = Tensor::zeros(exec, DType::f32, {5, 8});
  EXPECT_EQ(error_of([&] { ops::combine(exec, few, x, a.plan, weights, a.rule(DType::f32), ops::Write::add); }),
            "combine weights is [6, 2], expected 5 rows of 2");
  EXPECT_EQ(error_of([&] { ops::gather_backward(exec, few, x, a.plan, a.rule(DType::f32), ops::Write::add); }),
            "gather d_sorted is [12, 8] and the plan has 12 rows; 5 tokens times 2 slots expected");
}

}  // namespace
}  // namespace hadal
