// What the steps of one rank and of a layout leave, as numbers, and their comparison: the second half of the proof that
// train/layout_check.h describes.
#pragma once
#include <string>
#include <vector>

#include "arch/box.h"
#include "train/layout_findings.h"

namespace hadal {

struct StepQuantity {
  std::string kind;       // "loss", "gradient"
  std::string parameter;  // that it is of; empty: of none
  std::vector<double> numbers;
};

struct HeldValue {  // what a rank computes with
  std::string parameter;
  Box box;
  std::vector<double> numbers;
};

struct StepRecord {
  std::vector<StepQuantity> quantities;        // as a step makes them; those of a kind in the model's parameter order
  std::vector<std::vector<HeldValue>> values;  // [rank], in that order too; of some steps alone
};

// Steps of the one rank, and of the layout; where roundings of the precision are large, also of one rank in fp64, else
// none. All have the same quantities, in one order; otherwise an internal error.
LayoutFindings compare_records(Precision precision, const std::vector<StepRecord>& one,
                               const std::vector<StepRecord>& many, const std::vector<StepRecord>& exact);

}  // namespace hadal
