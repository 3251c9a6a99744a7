// The whole model under the FP8 recipe, over FP32 tensors, against an oracle that quantises and multiplies on its own
// (tests/oracle/fp8_model.py): sampled configurations and recipes, both forms of attention, experts with 0 to 300
// tokens, MTP, blocks of MX, the oracle's routes. Every gradient is near the oracle's, and those of plain FP32 are not.
// A value may lie so near a border of two codes that the rounding of FP32 moves it to the other side, and what follows
// with it: such a case is drawn again, with other weights.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "base/files.h"
#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

constexpr Bounds kFp8{1e-4, 2e-3, 1e-8};
constexpr double kFarther = 5;
constexpr int kDrawnAgain = 3;  // times at most

std::vector<RouteReplay> routes_of(const Case& test_case) {
  RouteReplay routes;
  routes.replay = true, routes.experts = test_case.expected.routes;
  return {routes};
}

Findings findings_of(const Case& test_case, Isa isa) {
  Findings findings;
  auto routes = routes_of(test_case);
  compare(test_case, {Precision::fp32, isa, kFp8, fmt::format("fp8 {}", isa_name(isa))}, routes, findings);
  return findings;
}

// Gradients of plain FP32, in units of the bound; ascending.
std::vector<double> distances_of_high(const Case& test_case) {
  Findings findings;
  auto routes = routes_of(test_case);
  compare(test_case, {Precision::fp32, best_isa(), kFp8, "fp32", 1, true}, routes, findings);
  std::sort(findings.of_bound.begin(), findings.of_bound.end());
  return findings.of_bound;
}

struct Drawn {  // what a case with another draw of its weights says
  int number;
  Isa isa;
  std::vector<std::string> failures;
};

std::vector<std::string> failures_drawn_again(const Drawn& drawn) {
  std::vector<std::string> failures = drawn.failures;
  for (int again = 1; again <= kDrawnAgain && !failures.empty(); ++again) {
    std::printf("drawn again: case %d in %s\n", drawn.number, isa_name(drawn.isa));
    ScratchDirectory directory("oracle_fp8_again");
    run_python(fmt::format("fp8_cases.py '{}' --only {} --again {}", directory.path().string(), drawn.number, again));
    failures = findings_of(load_case(case_files(directory.path()).at(0)), drawn.isa).failures;
  }
  return failures;
}

TEST(OracleFp8Model, EveryGradientOfSampledModelsAndRecipesAgreesAndThoseOfFp32DoNot) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  ScratchDirectory directory("oracle_fp8_model");
  run_python(fmt::format("fp8_cases.py '{}'", directory.path().string()));
  const auto files = case_files(directory.path());
  ASSERT_EQ(files.size(), 80u);
  std::set<int64_t> tokens_of_experts;
  std::vector<Drawn> again;
  Worst worst;
  int64_t gradients = 0;
  double least_median = 1e9;
  for (size_t i = 0; i < files.size(); ++i) {
    const Case test_case = load_case(files[i]);
    for (const auto& layer : test_case.expected.expert_load) tokens_of_experts.insert(layer.begin(), layer.end());
    for (const Isa isa : available_isas()) {
      const Findings findings = findings_of(test_case, isa);
      gradients += int64_t(findings.of_bound.size());
      if (findings.failures.empty()) worst.see(findings.gradient.value, findings.gradient.where);
      if (!findings.failures.empty()) again.push_back({int(i), isa, findings.failures});
    }
    const std::vector<double> high = distances_of_high(test_case);
    least_median = std::min(least_median, high[high.size() / 2]);
    EXPECT_GE(high[high.size() / 2], kFarther) << test_case.name << ": FP32 is hardly farther\n" << test_case.summary;
  }
  if (again.size() > files.size() / 8)  // that is no chance
    FAIL() << again.size() << " comparisons fail, the first: " << again.front().failures.front();
  for (const Drawn& drawn : again)
    for (const std::string& failure : failures_drawn_again(drawn)) ADD_FAILURE() << failure;
  std::printf("%lld gradients; worst %.3f of its bound (%s); FP32 %.0f bounds away or more, by the median\n",
              static_cast<long long>(gradients), worst.value, worst.where.c_str(), least_median);
  for (const int64_t n : {0, 1, 128}) EXPECT_LE(*tokens_of_experts.lower_bound(n), n + 32) << n;
  EXPECT_GT(*tokens_of_experts.rbegin(), 256);
}

// The negative control: each rule of the recipe, wrong in the oracle, is noticed, in more cases than one.
TEST(OracleFp8Model, NoticesEverySeededFault) {
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
  ScratchDirectory directory("oracle_fp8_model_faults");
  run_python(fmt::format("fp8_cases.py '{}' --faults", directory.path().string()));
  int64_t n_faults = 0;
  for (const auto& fault : std::filesystem::directory_iterator(directory.path())) {
    ++n_faults;
    int64_t noticed = 0;
    for (const auto& file : case_files(fault.path()))
      noticed += !findings_of(load_case(file), best_isa()).failures.empty();
    std::printf("%s: noticed in %lld cases\n", read_file(fault.path() / "fault.txt").c_str(),
                static_cast<long long>(noticed));
    EXPECT_GE(noticed, 2) << "survived: " << read_file(fault.path() / "fault.txt");
  }
  EXPECT_EQ(n_faults, 7);
}

}  // namespace
}  // namespace hadal::oracle
