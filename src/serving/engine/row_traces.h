// RowTraces: a hash of every row of what forwards compute on the way (Observer), so that two runs can be compared when
// both are over: where the bits of a text's token part first.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine_room.h"
#include "tensor/tensor.h"

namespace hadal {

class RowTraces {
 public:
  // A tensor of as many rows; one of others (only rows that are wanted) is passed over. What is seen last of a row
  // counts: a draft that proved wrong is followed by the right token.
  void see(const std::vector<StepRow>& rows, const std::string& name, const Tensor& value);
  // The first name, in the order of computing, under which a row that both have differs; empty: none.
  std::string first_difference(const StepRow& row, const RowTraces& other) const;

 private:
  using Row = std::pair<uint64_t, int64_t>;  // of a StepRow
  std::vector<std::string> names_;           // in the order of computing
  std::map<Row, std::map<std::string, uint64_t>> hashes_;
};

}  // namespace hadal
