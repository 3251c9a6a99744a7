// What the comparison of a layout's steps with one rank's says, of records made by hand: what differs first, and which
// parameter does.
#include "train/layout_comparison.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/expect_error.h"

namespace hadal {
namespace {

using Record = std::vector<StepRecord>;

StepRecord step_of(std::vector<StepQuantity> quantities) { return {std::move(quantities), {}}; }

// A loss, a norm, gradients and moments of three parameters whose names are not in the order of the alphabet.
Record healthy(int64_t steps = 2) {
  Record record;
  for (int64_t s = 0; s < steps; ++s) {
    record.push_back(step_of({{"loss", "", {3}}, {"gradient norm", "", {2}}}));
    for (const char* kind : {"gradient", "weight", "first moment"})
      for (const char* parameter : {"embedding", "layers.0.moe.router", "head"})
        record.back().quantities.push_back({kind, parameter, {1, 2, 2}});
  }
  return record;
}

std::vector<double>& numbers_of(Record& record, size_t step, const std::string& kind, const std::string& parameter) {
  for (StepQuantity& one : record.at(step - 1).quantities)
    if (one.kind == kind && one.parameter == parameter) return one.numbers;
  throw std::out_of_range(kind + " " + parameter);
}

LayoutFindings compared(const Record& many, Precision precision = Precision::fp64, const Record& exact = {}) {
  return compare_records(precision, healthy(), many, exact);
}

TEST(LayoutComparison, EqualRecordsAgree) {
  const LayoutFindings findings = compared(healthy());
  EXPECT_TRUE(findings.agree());
  EXPECT_EQ(findings.difference(), "");
  EXPECT_EQ(findings.rows.size(), 5u);
}

TEST(LayoutComparison, BehindANormTheFirstParameterThatDiffersIsNamedInTheModelsOrder) {
  Record many = healthy();
  numbers_of(many, 1, "gradient norm", "")[0] = 2.2;
  numbers_of(many, 1, "gradient", "head")[0] = 10;  // later in the model, though further off
  numbers_of(many, 1, "gradient", "layers.0.moe.router")[1] = 2.3;
  numbers_of(many, 2, "gradient", "embedding")[0] = 7;  // earlier in the model, a step later
  const LayoutFindings findings = compared(many);
  EXPECT_EQ(findings.first, "gradient norm (step 1) differs by 1.00e-01, more than 1.00e-09");
  EXPECT_EQ(findings.first_parameter, "gradient (layers.0.moe.router, step 1) differs by 1.00e-01, more than 1.00e-09");
  EXPECT_EQ(findings.difference(), findings.first + "; the first parameter that differs: " + findings.first_parameter);
  EXPECT_EQ(findings.rows[2].worst, "head, step 1");
}

TEST(LayoutComparison, OneThatDiffersFirstIsNamedOnce) {
  Record many = healthy();
  numbers_of(many, 2, "weight", "head")[0] = 1.3;
  const LayoutFindings findings = compared(many);
  EXPECT_EQ(findings.difference(), "weight (head, step 2) differs by 1.00e-01, more than 2.00e-09");
}

TEST(LayoutComparison, WhereALossAloneDiffersNoParameterIsNamed) {
  Record many = healthy();
  numbers_of(many, 2, "loss", "")[0] = 3.3;
  const LayoutFindings findings = compared(many);
  EXPECT_EQ(findings.difference(), "loss (step 2) differs by 1.00e-01, more than 2.00e-09; no parameter differs");
}

// Ranks hold parts, in the model's order.
TEST(LayoutComparison, ValuesOfRanksAreHeldAgainstTheirPartOfTheWhole) {
  Record one = {step_of({{"loss", "", {3}}})}, many = one;
  one[0].values = {{{"embedding", Box::whole({2, 2}), {1, 2, 3, 4}}, {"attention", Box::whole({2}), {5, 6}}}};
  many[0].values = {{{"embedding", {{0, 0}, {1, 2}}, {1, 2}}}, {{"embedding", {{1, 0}, {1, 2}}, {3, 4.5}}}};
  many[0].values[1].push_back({"attention", {{1}, {1}}, {6.6}});
  const LayoutFindings findings = compare_records(Precision::fp64, one, many, {});
  EXPECT_EQ(findings.difference(), "weight on rank 1 (embedding, step 1) differs by 1.00e-01, more than 1.00e-09");
  std::swap(many[0].values[1][0], many[0].values[1][1]);
  EXPECT_ERROR(compare_records(Precision::fp64, one, many, {}), ErrorKind::internal, "in another order");
}

// Where both are held against fp64, a kind is judged as one. Of it the router is within the kind's limit, and the
// embedding no further off than on one rank.
TEST(LayoutComparison, AParameterIsNamedAlsoWhereRoundingsAreLarge) {
  Record exact = healthy(), many = healthy();
  for (const size_t step : {size_t(1), size_t(2)}) numbers_of(exact, step, "gradient", "embedding")[0] = 1.3;
  EXPECT_TRUE(compared(many, Precision::bf16, exact).agree());
  numbers_of(many, 1, "gradient", "layers.0.moe.router")[0] = 1.15;
  numbers_of(many, 2, "gradient", "head")[0] = 1.9;
  const LayoutFindings findings = compared(many, Precision::bf16, exact);
  EXPECT_EQ(findings.difference(), "gradient (head, step 2) differs by 3.00e-01, more than 6.96e-02");
}

// The embedding is as much worse than on one rank as is allowed, the others are within the kind's limit: together they
// are beyond it, and the furthest is named.
TEST(LayoutComparison, AKindThatIsTooFarOffAlwaysNamesOne) {
  Record exact = healthy(1), one = healthy(1), many = healthy(1);
  numbers_of(one, 1, "gradient", "embedding")[0] = 1.9;
  numbers_of(many, 1, "gradient", "embedding")[0] = 2.125;
  for (const char* parameter : {"layers.0.moe.router", "head"}) numbers_of(many, 1, "gradient", parameter)[0] = 1.6;
  const LayoutFindings findings = compare_records(Precision::bf16, one, many, exact);
  EXPECT_EQ(findings.difference(), "gradient (embedding, step 1) differs by 3.75e-01, more than 2.17e-01");
}

TEST(LayoutComparison, RecordsOfOtherQuantitiesAreNotCompared) {
  Record many = healthy();
  std::swap(many[1].quantities[2], many[1].quantities[3]);
  EXPECT_ERROR(compared(many), ErrorKind::internal, "quantities come in another order");
}

}  // namespace
}  // namespace hadal
