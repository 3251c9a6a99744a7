// Single layers of the oracle (tests/oracle/layers.py): loading its cases, running the same layer of ours in every way
// it can run, and comparing results, the gradient of every input and of every weight.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/isa.h"

namespace hadal::oracle {

struct LayerFindings {
  std::vector<std::string> failures;
  int64_t cases = 0, runs = 0;
  int64_t tensors = 0;          // compared
  int64_t tensors_sizable = 0;  // of these, those of more than 1e-3 an element
  int64_t tensors_failed = 0;
  double worst = 0;  // ||difference|| / ||oracle||, of the sizable ones
  std::string worst_where;
};

// What our layers compute in, and how far they may be from the oracle, which computes in double precision:
// ||difference|| <= bound ||oracle|| + floor sqrt(n); sum_bound for the weight gradient of a linear layer, whose
// operands are given: nothing but its sums may differ.
struct LayerNumbers {
  DType dtype = DType::f64;
  Isa isa = Isa::reference;
  double bound = 1e-10, sum_bound = 1e-10, floor = 1e-13;
};

LayerFindings compare_layers(const std::filesystem::path& directory, const LayerNumbers& numbers = {});

}  // namespace hadal::oracle
