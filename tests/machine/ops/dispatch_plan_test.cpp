// The plan, and the movement of rows along it: gather, combine and their backwards.
#include <algorithm>

#include "ops/pointwise.h"
#include "ops/routing.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;

Tensor some_experts(int64_t tokens, int64_t top_k, int64_t n_experts, uint64_t seed) {
  std::vector<int32_t> experts;
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> all;
    for (int64_t e = 0; e < n_experts; ++e) all.push_back(int32_t(e));
    random_shuffle(all, seed, uint64_t(t));
    all.resize(size_t(top_k));
    std::sort(all.begin(), all.end());
    experts.insert(experts.end(), all.begin(), all.end());
  }
  return i32(experts, {tokens, top_k});
}

TEST(DispatchPlan, ByHandWithAnEmptyExpert) {
  OwnedExec owned(1);
  const Tensor experts = i32({0, 3, 0, 1, 1, 3}, {3, 2});  // three tokens, two slots, expert 2 gets nobody
  const ops::DispatchPlan plan = ops::make_plan(owned.exec, experts, 4);
  EXPECT_EQ(list_of(plan.offsets), (std::vector<int32_t>{0, 2, 4, 4, 6}));
  EXPECT_EQ(list_of(plan.token), (std::vector<int32_t>{0, 1, 1, 2, 0, 2}));
  EXPECT_EQ(list_of(plan.pair), (std::vector<int32_t>{0, 2, 3, 4, 1, 5}));
  EXPECT_EQ(list_of(plan.position), (std::vector<int32_t>{0, 4, 1, 2, 3, 5}));
}

TEST(DispatchPlan, DropsNoTokenWhateverTheLoad) {
  OwnedExec owned(1);
  const std::vector<Tensor> cases = {some_experts(50, 3, 8, 1), i32(std::vector<int32_t>(50, 7), {50, 1}),
                                     i32({}, {0, 2})};
  for (const Tensor& routed : cases) {
    const int64_t rows = routed.count(), top_k = routed.cols();
    const ops::DispatchPlan plan = ops::make_plan(owned.exec, routed, 8);
    const auto experts = list_of(routed), offsets = list_of(plan.offsets), token = list_of(plan.token);
    ASSERT_EQ(offsets.size(), 9u);
    EXPECT_EQ(offsets.back(), rows);
    std::vector<int32_t> seen = list_of(plan.position);
    std::sort(seen.begin(), seen.end());
    for (int64_t i = 0; i < rows; ++i) {
      EXPECT_EQ(seen[size_t(i)], i);  // every buffer row once
      const int64_t row = list_of(plan.position)[size_t(i)], expert = experts[size_t(i)];
      EXPECT_GE(row, offsets[size_t(expert)]);
      EXPECT_LT(row, offsets[size_t(expert) + 1]);
      EXPECT_EQ(token[size_t(row)], i / top_k);
      EXPECT_EQ(list_of(plan.pair)[size_t(row)], i);
    }
    for (int64_t e = 0; e < 8; ++e)
      EXPECT_TRUE(std::is_sorted(token.begin() + offsets[size_t(e)], token.begin() + offsets[size_t(e) + 1]));
  }
  EXPECT_EQ(error_of([&] { ops::make_plan(owned.exec, i32({0, 8}, {1, 2}), 8); }), "expert 1 is 8, expected 0 to 7");
}

// Numbers of (token, slot) pairs travel to the sorted rows and back.
TEST(DispatchPlan, SortsPairsAndBringsThemBack) {
  each_kind([](const Exec& exec, DType dtype) {
    if (dtype == DType::bf16) return;
    const ops::DispatchPlan plan = ops::make_plan(exec, some_experts(23, 3, 8, 2), 8);
    Mat pairs = random_mat(23, 3, 1);
    const Tensor there = Tensor::zeros(exec, dtype, {69}), back = Tensor::zeros(exec, dtype, {23, 3});
    const Tensor from = make(exec, dtype, pairs);
    ops::sort_pairs(exec, there, from, plan);
    for (int64_t r = 0; r < 69; ++r) EXPECT_EQ(element(there, r), element(from, list_of(plan.pair)[size_t(r)]));
    ops::unsort_pairs(exec, back, there, plan);
    EXPECT_EQ(bytes_of(exec, back), bytes_of(exec, from));
  });
}

struct Rows {
  Tensor experts;  // of 9, in three groups
  ops::DispatchPlan plan;
  Mat x, weights;
  ops::CombineRule rule(DType wire) const { return {experts, 3, wire}; }
};
Rows some_rows(const Exec& exec, int64_t tokens, int64_t top_k, int64_t cols) {
  const Tensor experts = some_experts(tokens, top_k, 9, 3);
  return {experts, ops::make_plan(exec, experts, 9), random_mat(tokens * top_k, cols, 1), random_mat(tokens, top_k, 2)};
}

TEST(Combine, AddsTheWeightedRowsOfEveryToken) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t cols : {1, 19, 64, 130}) {
      for (bool add : {false, true}) {
        Rows a = some_rows(exec, 23, 4, cols);
        Mat y = random_mat(23, cols, 9);
        View tx(exec, dtype, a.x), ty(exec, dtype, y);
        Tensor weights = make(exec, wide(dtype), a.weights);
        Mat want = add ? y : Mat(23, cols);
        for (int64_t t = 0; t < 23; ++t)
          for (int64_t s = 0; s < 4; ++s)
            for (int64_t c = 0; c < cols; ++c)
              want.at(t, c) += a.weights.at(t, s) * a.x.at(int64_t(element(a.plan.position, t * 4 + s)), c);
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
      Rows a = some_rows(exec, tokens, k, cols);
      Mat dgathered = random_mat(tokens, cols, 8);
      View tx(exec, dtype, a.x), tg(exec, dtype, dgathered);
      Mat want_sum(tokens, cols), want_added = dgathered;
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t s = 0; s < k; ++s)
          for (int64_t c = 0; c < cols; ++c) {
            const int64_t row = int64_t(element(a.plan.position, t * k + s));
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
      Rows a = some_rows(exec, tokens, k, cols);
      Tensor x = make(exec, DType::f32, a.x), weights = make(exec, DType::f32, a.weights);
      Tensor y = Tensor::zeros(exec, DType::f32, {tokens, cols}), dx = y.clone(exec), flat = y.clone(exec);
      ops::combine(exec, y, x, a.plan, weights, a.rule(wire), ops::Write::overwrite);
      ops::gather_backward(exec, dx, x, a.plan, a.rule(wire), ops::Write::overwrite);
      ops::combine(exec, flat, x, a.plan, weights, {a.experts, 9, DType::f32}, ops::Write::overwrite);
      EXPECT_NE(bytes_of(exec, flat), bytes_of(exec, y));  // the control: one flat sum has other bits
      const auto expert = [&](int64_t pair) { return int64_t(element(a.experts, pair)); };
      const Tensor positions = a.plan.position.view({tokens * k, 1});
      int64_t split = 0;
      for (int64_t t = 0; t < tokens; ++t) {
        Tensor sum = Tensor::zeros(exec, DType::f32, {1, cols}), sum_back = sum.clone(exec);
        for (int64_t s = 0, n; s < k; s += n) {
          for (n = 1; s + n < k && expert(t * k + s + n) / 3 == expert(t * k + s) / 3;) ++n;
          split += s > 0;
          std::vector<int32_t> rising(size_t(n), 0);  // a group of its own: plain sums, then the rounding of the wire
          for (int64_t i = 0; i < n; ++i) rising[size_t(i)] = int32_t(i);
          const Tensor one_group = i32(std::vector<int32_t>(size_t(n), 0), {1, n});
          const ops::DispatchPlan alone{i32({0, int32_t(n)}), one_group, i32(rising), i32(rising, {1, n})};
          Tensor rows = Tensor::zeros(exec, DType::f32, {n, cols}), w = Tensor::zeros(exec, DType::f32, {1, n});
          ops::gather_rows(exec, rows, x, positions.row_range(t * k + s, n));
          w.copy_from(weights.row_range(t, 1).col_range(s, n).clone(exec));
          Tensor sent = Tensor::zeros(exec, wire, {1, cols}), sent_back = sent.clone(exec);
          ops::combine(exec, sent, rows, alone, w, {one_group, 1, DType::f32}, ops::Write::overwrite);
          ops::gather_backward(exec, sent_back, rows, alone, {one_group, 1, DType::f32}, ops::Write::overwrite);
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
  const Tensor experts = some_experts(4, 2, 5, 1);
  const ops::DispatchPlan plan = ops::make_plan(exec, experts, 5);
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
    Rows a = some_rows(exec, 300, 4, 100);
    Tensor x = make(exec, DType::f32, a.x), weights = make(exec, DType::f32, a.weights);
    Tensor y = Tensor::zeros(exec, DType::f32, {300, 100}), dg = y.clone(exec);
    ops::combine(exec, y, x, a.plan, weights, a.rule(DType::bf16), ops::Write::overwrite);
    ops::gather_backward(exec, dg, x, a.plan, a.rule(DType::bf16), ops::Write::overwrite);
    // token 200 alone: its rows in its own small buffer give the same bits
    const ops::DispatchPlan alone{i32({0, 4}), i32({0, 0, 0, 0}), i32({0, 1, 2, 3}), i32({0, 1, 2, 3}, {1, 4})};
    Tensor rows = Tensor::zeros(exec, DType::f32, {4, 100}), one = Tensor::zeros(exec, DType::f32, {1, 100});
    ops::gather_rows(exec, rows, x, a.plan.position.row_range(200, 1));
    ops::combine(exec, one, rows, alone, weights.row_range(200, 1), {a.experts.row_range(200, 1), 3, DType::bf16},
                 ops::Write::overwrite);
    EXPECT_EQ(bytes_of(exec, one), bytes_of(exec, y.row_range(200, 1)));
    return bytes_of(exec, y) + bytes_of(exec, dg);
  });
}

TEST(Combine, RefusesAPlanOfAnotherSize) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  Rows a = some_rows(exec, 6, 2, 8);
  Tensor x = make(exec, DType::f32, a.x), weights = make(exec, DType::f32, a.weights);
  Tensor y = Tensor::zeros(exec, DType::f32, {6, 8}), few = Tensor::zeros(exec, DType::f32, {5, 8});
  EXPECT_EQ(error_of([&] { ops::combine(exec, few, x, a.plan, weights, a.rule(DType::f32), ops::Write::add); }),
            "combine weights is [6, 2], expected 5 rows of 2");
  EXPECT_EQ(error_of([&] { ops::gather_backward(exec, few, x, a.plan, a.rule(DType::f32), ops::Write::add); }),
            "gather d_sorted is [12, 8] and the plan has 12 rows; 5 tokens times 2 slots expected");
}

}  // namespace
}  // namespace hadal
