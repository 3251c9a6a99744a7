// The whole model against the oracle (PyTorch, double precision, autograd; tests/oracle/) over the pairwise-sampled
// grid: losses, every gradient, routes, log-probabilities and the bias update. Bounds are those of docs/numerics.md.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "train/oracle_case.h"

namespace hadal::oracle {
namespace {

constexpr Bounds kFp64{1e-10, 1e-9, 1e-12};
constexpr Bounds kFp32{2e-5, 2e-5, 1e-8};
constexpr int kCases = 208;                     // of latent attention
constexpr int kAllCases = kCases + kCases / 5;  // and of Llama's (grid.py)

#define NEED_PYTHON() \
  if (!python_available()) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it"

Way fp64_reference() { return {Precision::fp64, Isa::reference, kFp64, "fp64 reference"}; }

void report(const std::string& label, const Findings& findings) {
  std::printf("%-18s worst: loss %.1e (%s) | gradient %.1e of its norm (%s), %.3f of its bound (%s)\n", label.c_str(),
              findings.loss.value, findings.loss.where.c_str(), findings.gradient_relative.value,
              findings.gradient_relative.where.c_str(), findings.gradient.value, findings.gradient.where.c_str());
}

void expect_clean(const std::string& label, const Findings& findings) {
  for (size_t i = 0; i < findings.failures.size() && i < 20; ++i) ADD_FAILURE() << findings.failures[i];
  EXPECT_EQ(findings.failures.size(), 0u)
      << label << ": " << findings.failures.size() << " failures, the first 20 above";
}

TEST(OracleGrid, LossesAndEveryGradientAgreeInFp64AndInEveryFp32InstructionSet) {
  NEED_PYTHON();
  ScratchDirectory directory("oracle_grid");
  run_python(fmt::format("generate.py '{}' --cases {}", directory.path().string(), kCases));
  Findings fp64;
  std::map<Isa, Findings> fp32;
  const auto files = case_files(directory.path());
  ASSERT_EQ(files.size(), size_t(kAllCases));
  for (const auto& file : files) {
    const Case test_case = load_case(file);
    std::vector<RouteReplay> routes;
    compare(test_case, fp64_reference(), routes, fp64);
    for (Isa isa : available_isas())
      compare(test_case, {Precision::fp32, isa, kFp32, fmt::format("fp32 {}", isa_name(isa))}, routes, fp32[isa]);
  }
  report("fp64 reference", fp64);
  expect_clean("fp64 reference", fp64);
  EXPECT_EQ(fp64.routes_different, 0);
  EXPECT_GT(fp64.routes_equal, 10000) << "the grid hardly routes";
  std::printf("%lld routes equal in fp64\n", static_cast<long long>(fp64.routes_equal));
  for (const auto& [name, moved] : fp64.moved)
    EXPECT_TRUE(moved) << "the gradient of " << name << " is zero in every case";
  for (const auto& [isa, findings] : fp32) {
    report(fmt::format("fp32 {}", isa_name(isa)), findings);
    expect_clean(fmt::format("fp32 {}", isa_name(isa)), findings);
  }
}

TEST(OracleGrid, Bf16AndFp16StayNearInEveryInstructionSet) {
  NEED_PYTHON();
  ScratchDirectory directory("oracle_halves");
  std::string every_fourth = "0";
  for (int i = 4; i < kAllCases; i += 4) every_fourth += fmt::format(",{}", i);
  run_python(fmt::format("generate.py '{}' --cases {} --only {}", directory.path().string(), kCases, every_fourth));
  constexpr Bounds kBf16{0.03, 0.5, 2e-3};    // gradients: a sanity check, 8-bit significands through up to 5 layers
  constexpr Bounds kFp16{0.004, 0.04, 2e-4};  // three bits more
  std::map<Isa, Findings> bf16, fp16;
  for (const auto& file : case_files(directory.path())) {
    const Case test_case = load_case(file);
    std::vector<RouteReplay> routes;
    Findings fp64;
    compare(test_case, fp64_reference(), routes, fp64);
    for (Isa isa : available_isas()) {
      compare(test_case, {Precision::bf16, isa, kBf16, fmt::format("bf16 {}", isa_name(isa))}, routes, bf16[isa]);
      compare(test_case, {Precision::fp16, isa, kFp16, fmt::format("fp16 {}", isa_name(isa)), 64}, routes, fp16[isa]);
    }
  }
  for (const auto& [isa, findings] : fp16) {
    report(fmt::format("fp16 {}", isa_name(isa)), findings);
    expect_clean(fmt::format("fp16 {}", isa_name(isa)), findings);
  }
  for (const auto& [isa, findings] : bf16) {
    report(fmt::format("bf16 {}", isa_name(isa)), findings);
    expect_clean(fmt::format("bf16 {}", isa_name(isa)), findings);
  }
}

// The negative control: an oracle with one seeded fault must disagree. tools/mutants.py prints these lines as its
// table.
TEST(OracleGrid, NoticesEverySeededFault) {
  NEED_PYTHON();
  ScratchDirectory directory("oracle_mutants");
  run_python(fmt::format("generate.py '{}' --mutants", directory.path().string()));
  int n_mutants = 0;
  for (const auto& mutant : std::filesystem::directory_iterator(directory.path())) {
    const auto description = read_json(mutant.path() / "mutant.json");
    Findings findings;
    for (const auto& file : case_files(mutant.path())) {
      std::vector<RouteReplay> routes;
      compare(load_case(file), fp64_reference(), routes, findings);
      if (!findings.failures.empty()) break;
    }
    ++n_mutants;
    const std::string trap = description["trap"], name = description["name"], fault = description["fault"];
    const std::string by =
        findings.failures.empty() ? "SURVIVED" : findings.failures[0].substr(0, findings.failures[0].find('\n'));
    std::printf("MUTANT\t%s\t%s\t%s\t%s\n", trap.c_str(), name.c_str(), fault.c_str(), by.c_str());
    EXPECT_FALSE(findings.failures.empty()) << "survived: trap " << trap << ", " << name << ": " << fault;
  }
  EXPECT_GE(n_mutants, 35);
}

TEST(Oracle, AgreesWithHuggingFaceTransformers) {
  NEED_PYTHON();
  EXPECT_NO_THROW(run_python("check_oracle_against_transformers.py"));
}

}  // namespace
}  // namespace hadal::oracle
