// Single layers of the oracle (tests/oracle/layers.py): loading its cases, running the same layer of ours in double
// precision in every way it can run, and comparing results, the gradient of every input and of every weight.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

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

// The bound: ||difference|| <= 1e-10 ||oracle|| + 1e-13 sqrt(n).
LayerFindings compare_layers(const std::filesystem::path& directory);

}  // namespace hadal::oracle
