#include <algorithm>
#include <numeric>

#include "ops/routing.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;
using ops::RouteRule;

// Section 2.4, written per sequence with sorting; gradient by the quotient rule.
double formula(const RouteRule& rule, const Mat& s, const std::vector<ops::RowRange>& sequences, double alpha, Mat* d) {
  double loss = 0;
  const int64_t n = rule.n_experts;
  for (const ops::RowRange& q : sequences) {
    std::vector<double> f(size_t(n), 0.0), p(size_t(n), 0.0), z(size_t(q.count), 0.0);
    for (int64_t i = 0; i < q.count; ++i) {
      std::vector<int32_t> index(size_t(n), 0);
      std::iota(index.begin(), index.end(), 0);
      std::stable_sort(index.begin(), index.end(),
                       [&](int a, int b) { return s.at(q.begin + i, a) > s.at(q.begin + i, b); });
      for (int64_t k = 0; k < rule.top_k; ++k) f[size_t(index[size_t(k)])] += double(n) / double(rule.top_k * q.count);
      for (int64_t e = 0; e < n; ++e) z[size_t(i)] += s.at(q.begin + i, e);
      for (int64_t e = 0; e < n; ++e) p[size_t(e)] += s.at(q.begin + i, e) / z[size_t(i)] / double(q.count);
    }
    for (int64_t e = 0; e < n; ++e) loss += alpha * f[size_t(e)] * p[size_t(e)];
    for (int64_t i = 0; d && i < q.count; ++i)
      for (int64_t e = 0; e < n; ++e) {
        double slope = 0;
        for (int64_t j = 0; j < n; ++j)
          slope += f[size_t(j)] * ((j == e) * z[size_t(i)] - s.at(q.begin + i, j)) / (z[size_t(i)] * z[size_t(i)]);
        d->at(q.begin + i, e) = alpha * slope / double(q.count);
      }
  }
  return loss;
}

TEST(BalanceLoss, IsTheFormulaOverSequencesAndGivesZeroGradientOutside) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    for (int64_t n : {1, 5, 16, 32, 70}) {
      const RouteRule rule{.n_experts = n, .top_k = std::min<int64_t>(4, n)};
      Mat s = random_mat(60, n, 1);
      for (double& x : s.v) x = 1 / (1 + std::exp(-x));
      Tensor ts = make(exec, dtype, s);
      Mat before = random_mat(60, n, 2);
      Tensor td = make(exec, dtype, before);
      const std::vector<ops::RowRange> sequences = {
          {0, 13}, {13, 1}, {14, 0}, {20, 37}};  // rows 14..19 and 57.. in none
      Mat want(60, n);
      const double loss = formula(rule, s, sequences, 0.3, &want);
      EXPECT_NEAR(balance_total(exec, rule, ts, sequences, 0.3, td), loss, loss * (dtype == DType::f64 ? 1e-12 : 2e-6));
      expect_close(read(td), want, tolerance(dtype), "dscores", dtype == DType::f64 ? 1e-14 : 1e-7);
      EXPECT_NEAR(balance_total(exec, rule, ts, sequences, 0.3, Tensor()), loss, loss * 2e-6);
    }
  });
}

TEST(BalanceLoss, ByHand) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    const RouteRule rule{.n_experts = 4, .n_groups = 2, .n_limited_groups = 1, .top_k = 2};
    // Token 0 prefers experts 0 and 2 (in two groups: the group limit does not count here), token 1 experts 0 and 1.
    Mat s(2, 4);
    s.v = {0.5, 0.1, 0.3, 0.1, 0.8, 0.4, 0.2, 0.2};
    // f = 4 / (2 * 2) * (2, 1, 1, 0); P = mean of (0.5, 0.1, 0.3, 0.1) and (0.5, 0.25, 0.125, 0.125)
    const double expected = 2 * 0.5 + 1 * 0.175 + 1 * 0.2125;
    Tensor ts = make(exec, dtype, s);
    const std::vector<ops::RowRange> one = {{0, 2}}, two = {{0, 1}, {1, 1}};
    EXPECT_NEAR(balance_total(exec, rule, ts, one, 1.0, Tensor()), expected, 1e-6);
    // one token each: f = 2 for the two chosen
    EXPECT_NEAR(balance_total(exec, rule, ts, two, 1.0, Tensor()), 2 * 0.8 + 2 * 0.75, 1e-6);
    Mat even(8, 4, 0.25);  // perfectly balanced choices and probabilities give alpha
    for (int64_t t = 0; t < 8; ++t) even.at(t, t % 4) += 1e-6, even.at(t, (t + 1) % 4) += 1e-6;
    Tensor te = make(exec, dtype, even);
    EXPECT_NEAR(balance_total(exec, rule, te, std::vector<ops::RowRange>{{0, 8}}, 0.01, Tensor()), 0.01, 1e-7);
  });
}

TEST(BalanceLoss, GradientIsTheDerivativeThroughTheProbabilitiesOnly) {
  OwnedExec owned(1, Isa::reference);
  const Exec& exec = owned.exec;
  const RouteRule rule{.n_experts = 6, .top_k = 2};
  Mat s = random_mat(9, 6, 1);
  for (double& x : s.v) x = 1 / (1 + std::exp(-x));
  const std::vector<ops::RowRange> sequences = {{0, 4}, {4, 5}};
  const auto loss = [&] { return balance_total(exec, rule, make(exec, DType::f64, s), sequences, 0.7, Tensor()); };
  Tensor d = Tensor::zeros(exec, DType::f64, {9, 6});
  balance_total(exec, rule, make(exec, DType::f64, s), sequences, 0.7, d);
  expect_gradient(s, read(d), loss, 1e-6);
}

// Two ranks hold rows of both sequences: their choices are added up, and their shares are the loss of one rank.
TEST(BalanceLoss, OfSequencesInPartsIsTheSumOfThePartsShares) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    const RouteRule rule{.n_experts = 6, .top_k = 2};
    Mat s = random_mat(20, 6, 1);
    for (double& x : s.v) x = 1 / (1 + std::exp(-x));
    const std::vector<ops::RowRange> sequences = {{0, 13}, {13, 7}};
    const Tensor d = Tensor::zeros(exec, dtype, {20, 6});
    const double wanted = balance_total(exec, rule, make(exec, dtype, s), sequences, 0.3, d);
    // Rows 0..4 and 13..14 on the one, all others on the other.
    const std::vector<std::vector<int64_t>> rows = {{0, 1, 2, 3, 4, 13, 14},
                                                    {5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 17, 18, 19}};
    const std::vector<std::vector<ops::RowRange>> parts = {{{0, 5}, {5, 2}}, {{0, 8}, {8, 5}}};
    const std::vector<int64_t> lengths = {13, 7};
    std::vector<Tensor> scores, chosen;
    for (int rank = 0; rank < 2; ++rank) {
      Mat own(int64_t(rows[size_t(rank)].size()), 6);
      for (size_t i = 0; i < rows[size_t(rank)].size(); ++i)
        for (int64_t e = 0; e < 6; ++e) own.at(int64_t(i), e) = s.at(rows[size_t(rank)][i], e);
      scores.push_back(make(exec, dtype, own));
      chosen.push_back(ops::balance_counts(exec, rule, scores.back(), parts[size_t(rank)]));
    }
    for (int64_t i = 0; i < chosen[0].count(); ++i) chosen[0].data<int64_t>()[i] += chosen[1].data<int64_t>()[i];
    double loss = 0;
    for (size_t rank = 0; rank < 2; ++rank) {
      const Tensor own = Tensor::zeros(exec, dtype, {scores[rank].rows(), 6});
      loss += balance_total(exec, rule, scores[rank], ops::BalanceTotals{parts[rank], lengths, chosen[0]}, 0.3, own);
      for (size_t i = 0; i < rows[rank].size(); ++i)
        for (int64_t e = 0; e < 6; ++e) EXPECT_EQ(element(own, int64_t(i) * 6 + e), element(d, rows[rank][i] * 6 + e));
    }
    EXPECT_NEAR(loss, wanted, 1e-14 + (dtype == DType::f64 ? 0 : 1e-7));
  });
}

TEST(BalanceLoss, RefusesSequencesThatOverlapOrLeaveTheTokens) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  Tensor s = Tensor::zeros(exec, DType::f32, {10, 4});
  const RouteRule rule{.n_experts = 4, .top_k = 1};
  EXPECT_EQ(error_of([&] {
              balance_total(exec, rule, s, std::vector<ops::RowRange>{{0, 5}, {4, 2}}, 1, Tensor());
            }),
            "balance loss: a sequence of 2 rows from 4 does not follow row 5 within 10 tokens");
  EXPECT_EQ(error_of([&] {
              balance_total(exec, rule, s, std::vector<ops::RowRange>{{6, 5}}, 1, Tensor());
            }),
            "balance loss: a sequence of 5 rows from 6 does not follow row 0 within 10 tokens");
}

}  // namespace
}  // namespace hadal
