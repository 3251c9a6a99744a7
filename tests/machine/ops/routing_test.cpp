// Scores, selection and their gradient. Expected values come from formulas written here, in double.
#include "ops/routing.h"

#include <algorithm>
#include <numeric>

#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;
using ops::RouteRule;

struct Routed {
  Mat scores, weights;
  std::vector<int32_t> experts;
  ops::RouteFindings found;
  // As route_backward takes it, in this dtype.
  ops::Routes routes(const Exec& exec, DType dtype) const {
    Mat s = scores;
    return {i32(experts, {weights.rows, weights.cols}), make(exec, dtype, s), {}};
  }
};

Routed run(const Exec& exec, const RouteRule& rule, Mat logits, std::vector<double> bias = {}, DType dtype = DType::f32,
           std::vector<int32_t> forced = {}) {
  Routed r;
  Tensor tl = make(exec, dtype, logits), tb;
  Mat b(1, int64_t(bias.size()));
  b.v = bias;
  if (!bias.empty()) tb = make(exec, dtype, b);
  ops::Routes routes;
  if (!forced.empty()) routes.experts = i32(forced, {logits.rows, rule.top_k});
  ops::route(exec, rule, tl, tb, routes);
  r.found = ops::findings(routes.found);
  r.experts = list_of(routes.experts), r.scores = read(routes.scores), r.weights = read(routes.weights);
  return r;
}

Mat scores_of(const RouteRule& rule, const Mat& logits) {
  Mat s = logits;
  for (int64_t t = 0; t < s.rows; ++t) {
    double sum = 0;
    for (int64_t e = 0; e < s.cols; ++e) sum += std::exp(logits.at(t, e));
    for (int64_t e = 0; e < s.cols; ++e)
      s.at(t, e) = rule.softmax ? std::exp(logits.at(t, e)) / sum : 1 / (1 + std::exp(-logits.at(t, e)));
  }
  return s;
}

// Indexes sorted by value descending, ties by index.
std::vector<int32_t> order(const std::vector<double>& values) {
  std::vector<int32_t> index(values.size());
  std::iota(index.begin(), index.end(), 0);
  std::stable_sort(index.begin(), index.end(),
                   [&](int32_t a, int32_t b) { return values[size_t(a)] > values[size_t(b)]; });
  return index;
}

// Selection of section 1.5 by sorting; also gives the smallest gap between a chosen and a rejected value.
std::vector<int32_t> choose(const RouteRule& rule, const std::vector<double>& biased, double* gap) {
  const int64_t size = rule.n_experts / rule.n_groups;
  std::vector<double> groups;
  for (int64_t g = 0; g < rule.n_groups; ++g) {
    std::vector<double> members(biased.begin() + g * size, biased.begin() + (g + 1) * size);
    std::sort(members.rbegin(), members.rend());
    groups.push_back(rule.group_max || size == 1 ? members[0] : members[0] + members[1]);
  }
  const std::vector<int32_t> best = order(groups);
  std::vector<double> masked(biased.size(), -1e300);
  for (int64_t i = 0; i < rule.n_limited_groups; ++i)
    for (int64_t e = best[size_t(i)] * size; e < (best[size_t(i)] + 1) * size; ++e)
      masked[size_t(e)] = biased[size_t(e)];
  std::vector<int32_t> sorted = order(masked);
  *gap = 1e9;
  if (rule.n_limited_groups < rule.n_groups)
    *gap =
        groups[size_t(best[size_t(rule.n_limited_groups - 1)])] - groups[size_t(best[size_t(rule.n_limited_groups)])];
  if (rule.top_k < rule.n_experts)
    *gap = std::min(*gap, masked[size_t(sorted[size_t(rule.top_k - 1)])] - masked[size_t(sorted[size_t(rule.top_k)])]);
  sorted.resize(size_t(rule.top_k));
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

std::vector<RouteRule> rules() {
  return {{.n_experts = 16, .n_groups = 4, .n_limited_groups = 2, .top_k = 4, .scale = 2.5},
          {.n_experts = 32, .n_groups = 8, .n_limited_groups = 4, .top_k = 6},
          {.n_experts = 256, .n_groups = 8, .n_limited_groups = 4, .top_k = 8, .scale = 2.5},
          {.n_experts = 24,
           .n_groups = 3,
           .n_limited_groups = 2,
           .top_k = 5,
           .softmax = true,
           .group_max = true,
           .normalize = false,
           .scale = 16},
          {.n_experts = 7, .top_k = 3},
          {.n_experts = 5, .top_k = 5, .softmax = true},
          {.n_experts = 1, .top_k = 1},
          {.n_experts = 6, .n_groups = 6, .n_limited_groups = 3, .top_k = 2}};
}

TEST(Route, IsTheFormulaForEveryRuleAndInstructionSet) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    for (const RouteRule& rule : rules()) {
      Mat logits = random_mat(200, rule.n_experts, 3, 1.5), bias = random_mat(1, rule.n_experts, 4, 0.3);
      make(exec, dtype, logits), make(exec, dtype, bias);
      const Routed got = run(exec, rule, logits, bias.v, dtype);
      const Mat scores = scores_of(rule, logits);
      expect_close(got.scores, scores, tolerance(dtype), "scores", 1e-12);
      int64_t compared = 0;
      for (int64_t t = 0; t < 200; ++t) {
        std::vector<double> biased(scores.v.begin() + t * rule.n_experts, scores.v.begin() + (t + 1) * rule.n_experts);
        for (size_t e = 0; e < biased.size(); ++e) biased[e] += bias.v[e];
        double gap = 0;
        const std::vector<int32_t> want = choose(rule, biased, &gap);
        if (gap < 1e-5) continue;  // closer than FP32 can tell
        ++compared;
        const std::vector<int32_t> chosen(got.experts.begin() + t * rule.top_k,
                                          got.experts.begin() + (t + 1) * rule.top_k);
        ASSERT_EQ(chosen, want) << "token " << t;
        double sum = 0;
        for (int32_t e : want) sum += scores.at(t, e);
        for (int64_t s = 0; s < rule.top_k; ++s) {
          const double w = scores.at(t, want[size_t(s)]) / (rule.normalize ? sum : 1) * rule.scale;
          ASSERT_NEAR(got.weights.at(t, s), w, w * (dtype == DType::f64 ? 1e-12 : 4e-6));
        }
      }
      EXPECT_GT(compared, 190);
    }
  });
}

double logit(double probability) { return std::log(probability / (1 - probability)); }
Mat logits_for(std::vector<double> probabilities) {
  Mat m(1, int64_t(probabilities.size()));
  for (size_t i = 0; i < probabilities.size(); ++i) m.v[i] = logit(probabilities[i]);
  return m;
}

TEST(Route, GroupLimitKeepsTheGroupWithTheBestPairNotTheBestExpert) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    // group 0 holds the best expert (0.9 + 0.1 = 1.0), group 1 the best pair (0.6 + 0.6 = 1.2)
    const Mat logits = logits_for({0.9, 0.1, 0.6, 0.6});
    RouteRule rule{.n_experts = 4, .n_groups = 2, .n_limited_groups = 1, .top_k = 2};
    Routed r = run(exec, rule, logits, {}, dtype);
    EXPECT_EQ(r.experts, (std::vector<int32_t>{2, 3}));
    EXPECT_NEAR(r.weights.at(0, 0), 0.5, 1e-6);
    rule.group_max = true;  // V2
    EXPECT_EQ(run(exec, rule, logits, {}, dtype).experts, (std::vector<int32_t>{0, 1}));
  });
}

TEST(Route, BiasChangesWhoIsChosenButNotTheWeights) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    const Mat logits = logits_for({0.8, 0.4, 0.2, 0.7});
    const RouteRule rule{.n_experts = 4, .top_k = 2, .scale = 3};
    EXPECT_EQ(run(exec, rule, logits, {}, dtype).experts, (std::vector<int32_t>{0, 3}));
    const Routed r = run(exec, rule, logits, {0, 0, 0.6, 0}, dtype);  // 0.8 and 0.2 + 0.6 against 0.7
    EXPECT_EQ(r.experts, (std::vector<int32_t>{0, 2}));
    EXPECT_NEAR(r.weights.at(0, 0), 3 * 0.8, 1e-5);
    EXPECT_NEAR(r.weights.at(0, 1), 3 * 0.2, 1e-5);
  });
}

TEST(Route, AMaskedGroupNeverWinsOverNegativeBiasedScores) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    // all biased scores are below 0: a mask of 0 instead of minus infinity would choose from group 1
    const RouteRule rule{.n_experts = 4, .n_groups = 2, .n_limited_groups = 1, .top_k = 2};
    const Routed r = run(exec, rule, logits_for({0.5, 0.4, 0.3, 0.2}), {-2, -2, -2, -2}, dtype);
    EXPECT_EQ(r.experts, (std::vector<int32_t>{0, 1}));
    EXPECT_NEAR(r.weights.at(0, 0), 5.0 / 9, 1e-6);
  });
}

TEST(Route, TiesGoToTheLowestIndexAmongExpertsAndGroups) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    for (int64_t experts : {4, 16, 40}) {
      const RouteRule plain{.n_experts = experts, .top_k = 3};
      EXPECT_EQ(run(exec, plain, Mat(1, experts, 0.3), {}, dtype).experts, (std::vector<int32_t>{0, 1, 2}));
      const RouteRule grouped{.n_experts = experts, .n_groups = 4, .n_limited_groups = 1, .top_k = 1};
      EXPECT_EQ(run(exec, grouped, Mat(1, experts, -0.3), {}, dtype).experts, (std::vector<int32_t>{0}));
      Mat late(1, experts, 0.0);
      late.at(0, experts - 1) = late.at(0, experts - 2) = 2;
      EXPECT_EQ(run(exec, plain, late, {}, dtype).experts,
                (std::vector<int32_t>{0, int32_t(experts - 2), int32_t(experts - 1)}));
    }
  });
}

TEST(Route, ReplaysForcedExpertsInTheOrderGiven) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    const RouteRule rule{.n_experts = 4, .top_k = 2, .softmax = true, .normalize = false, .scale = 2};
    const Routed r = run(exec, rule, logits_for({0.8, 0.4, 0.2, 0.7}), {}, dtype, {1, 2});
    EXPECT_EQ(r.experts, (std::vector<int32_t>{1, 2}));
    const double sum = 4 + 2.0 / 3 + 0.25 + 7.0 / 3;  // e^logit = p / (1 - p)
    EXPECT_NEAR(r.weights.at(0, 0), 2 * (2.0 / 3) / sum, 1e-6);
    EXPECT_NEAR(r.weights.at(0, 1), 2 * 0.25 / sum, 1e-6);
  });
}

TEST(Route, RefusesForcedExpertsThatDoNotAscend) {
  OwnedExec owned(1);
  const RouteRule rule{.n_experts = 4, .top_k = 2};
  const auto replay = [&](std::vector<int32_t> experts) {
    return error_of([&] { run(owned.exec, rule, Mat(2, 4), {}, DType::f32, std::move(experts)); });
  };
  EXPECT_EQ(replay({0, 1, 3, 2}),
            "forced experts of token 1: 2 follows 3; a token's experts must ascend, each named once");
  EXPECT_EQ(replay({2, 2, 0, 1}),
            "forced experts of token 0: 2 follows 2; a token's experts must ascend, each named once");
  EXPECT_EQ(replay({0, 1, 2, 4}), "forced expert 3 is 4, expected 0 to 3");
}

// Numbers flow on: a router never stops a forward in the middle.
TEST(Route, FindsTheFirstTokenWhoseLogitsAreNotANumberAndRoutesItToTheLowest) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    for (bool softmax : {false, true}) {
      Mat logits(900, 20);
      logits.at(899, 0) = logits.at(417, 19) = logits.at(600, 3) = std::nan("");
      const Routed r = run(exec, {.n_experts = 20, .top_k = 2, .softmax = softmax}, logits, {}, dtype);
      EXPECT_EQ(r.found.token, 417);
      EXPECT_EQ(r.found.first_logit, 0);
      EXPECT_EQ(r.found.bias_expert, ops::RouteFindings::kNothing);
      for (const int64_t t : {417, 600, 899}) {
        EXPECT_EQ(r.experts[size_t(2 * t)], 0);
        EXPECT_EQ(r.experts[size_t(2 * t + 1)], 1);
        EXPECT_TRUE(std::isnan(r.weights.at(t, 0)) && std::isnan(r.weights.at(t, 1)));
      }
      EXPECT_FALSE(std::isnan(r.weights.at(416, 0)) || std::isnan(r.weights.at(418, 1)));
      EXPECT_EQ(run(exec, {.n_experts = 20, .top_k = 2}, Mat(900, 20), {}, dtype).found.token,
                ops::RouteFindings::kNothing);
    }
  });
}

TEST(Route, ABiasThatIsNotFiniteSendsEveryTokenToTheLowest) {
  each_kind([](const Exec& exec, DType dtype) {
    if (is_half(dtype)) return;
    for (const double bad : {std::nan(""), double(INFINITY), -double(INFINITY)}) {
      const Routed r = run(exec, {.n_experts = 4, .n_groups = 2, .top_k = 2}, Mat(3, 4), {0, bad, 0, 0}, dtype);
      EXPECT_EQ(r.found.bias_expert, 1);
      EXPECT_EQ(r.found.token, ops::RouteFindings::kNothing);
      EXPECT_EQ(r.experts, (std::vector<int32_t>{0, 1, 0, 1, 0, 1}));
      for (const double w : r.weights.v) EXPECT_TRUE(std::isnan(w));
    }
  });
}

TEST(Route, RefusesImpossibleRules) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  EXPECT_EQ(error_of([&] { run(exec, {.n_experts = 4, .top_k = 5}, Mat(1, 4)); }),
            "route: top_k is 5, expected 1 to 4 (experts in the groups that a token may visit)");
  EXPECT_EQ(error_of([&] { run(exec, {.n_experts = 8, .n_groups = 4, .n_limited_groups = 1, .top_k = 3}, Mat(1, 8)); }),
            "route: top_k is 3, expected 1 to 2 (experts in the groups that a token may visit)");
  EXPECT_EQ(error_of([&] { run(exec, {.n_experts = 8, .n_groups = 3, .top_k = 3}, Mat(1, 8)); }),
            "route: 3 groups do not divide 8 experts");
  EXPECT_EQ(error_of([&] { run(exec, {.n_experts = 2, .top_k = 1}, Mat(1, 2), {}, DType::bf16); }),
            "router scores is BF16; routing takes F32 (or F64 throughout)");
}

TEST(RouteBackward, IsTheDerivativeOfTheWeightsAndPassesOnDscores) {
  OwnedExec owned(1, Isa::reference);
  const Exec& exec = owned.exec;
  for (const RouteRule& rule : rules()) {
    Mat logits = random_mat(5, rule.n_experts, 8, 1.2);
    const Mat c = random_mat(5, rule.top_k, 9), d = random_mat(5, rule.n_experts, 10);
    const Routed base = run(exec, rule, logits, {}, DType::f64);
    const auto loss = [&] {  // the choice is held: selection has no gradient
      const Routed r = run(exec, rule, logits, {}, DType::f64, base.experts);
      return dot(r.weights, c) + dot(r.scores, d);
    };
    Mat mc = c, md = d;
    Tensor dlogits = Tensor::zeros(exec, DType::f64, {5, rule.n_experts});
    ops::route_backward(exec, rule, dlogits, make(exec, DType::f64, mc), base.routes(exec, DType::f64),
                        make(exec, DType::f64, md));
    expect_gradient(logits, read(dlogits), loss);
  }
}

TEST(RouteBackward, AgreesWithTheReferenceInEveryInstructionSet) {
  OwnedExec exact(1, Isa::reference);
  for (Isa isa : available_isas()) {
    OwnedExec owned(2, isa);
    for (const RouteRule& rule : rules())
      for (bool with_scores : {false, true}) {
        Mat logits = random_mat(150, rule.n_experts, 8, 1.2), c = random_mat(150, rule.top_k, 9);
        Mat d = random_mat(150, rule.n_experts, 10);
        Routed r = run(owned.exec, rule, logits);
        const auto backward = [&](const Exec& exec, DType dtype) {
          Tensor dlogits = Tensor::zeros(exec, dtype, {150, rule.n_experts});
          ops::route_backward(exec, rule, dlogits, make(exec, dtype, c), r.routes(exec, dtype),
                              with_scores ? make(exec, dtype, d) : Tensor());
          return read(dlogits);
        };
        const Mat got = backward(owned.exec, DType::f32);
        expect_close(got, backward(exact.exec, DType::f64), 4e-6, isa_name(isa), 4e-6 * rule.scale);
      }
  }
}

TEST(Route, HasTheSameBitsWithAnyNumberOfThreads) {
  expect_thread_independent([](const Exec& exec) {
    const RouteRule rule = rules()[1];
    Mat logits = random_mat(1000, 32, 1);
    Tensor tl = make(exec, DType::f32, logits);
    ops::Routes routes;
    ops::route(exec, rule, tl, Tensor(), routes);
    const std::vector<ops::RowRange> sequences = {{0, 300}, {300, 300}, {600, 400}};
    Tensor dscores = Tensor::zeros(exec, DType::f32, {1000, 32}), dlogits = dscores.clone(exec);
    const double loss = balance_total(exec, rule, routes.scores, sequences, 0.1, dscores);
    ops::route_backward(exec, rule, dlogits, routes.weights, routes, dscores);
    const auto experts = list_of(routes.experts);
    return bytes_of(exec, routes.scores) + bytes_of(exec, routes.weights) + bytes_of(exec, dscores) +
           bytes_of(exec, dlogits) + std::string(reinterpret_cast<const char*>(experts.data()), experts.size() * 4) +
           std::string(reinterpret_cast<const char*>(&loss), 8);
  });
}

}  // namespace
}  // namespace hadal
