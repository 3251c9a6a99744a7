// What ranks hold of the parameters that a layout cuts: heads, columns, rows of the vocabulary, experts, by a rank's
// seat along the axis that cuts them. All else is whole on every rank of the stages that read it.
#pragma once
#include <string>
#include <vector>

#include "layout/placement.h"

namespace hadal {

struct CutParameter {
  std::string name;            // of all layers: "layers.*.attention.q_b"
  std::vector<int64_t> shape;  // of the whole
  std::string axis;            // "tensor", "experts"
  std::string unit;            // what the ranges count: "heads", "key/value heads", "rows", "columns", "experts"
  struct Range {
    int64_t begin = 0, end = 0;
  };
  std::vector<Range> held;  // by seat along the axis
  int64_t n_holders = 0;    // of each of these boxes: ranks that add up its gradient and share its update
};

// In the order of the model's parameters; those of one name in all layers count once.
std::vector<CutParameter> cut_parameters(const Placement& placement);
// The same as a table, and below it the names of what is whole.
std::string boxes_text(const Placement& placement);

}  // namespace hadal
