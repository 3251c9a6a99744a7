#include "engine/row_traces.h"

#include <algorithm>
#include <string_view>

#include "base/hash.h"

namespace hadal {

void RowTraces::see(const std::vector<StepRow>& rows, const std::string& name, const Tensor& value) {
  if (value.rows() != int64_t(rows.size())) return;
  if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.push_back(name);
  const Tensor on_host = host_copy(value);
  const auto* const bytes = static_cast<const char*>(on_host.raw());
  const int64_t element = dtype_bytes(on_host.dtype());
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::string_view row(bytes + int64_t(r) * on_host.row_stride() * element, size_t(on_host.cols() * element));
    hashes_[{rows[r].request, rows[r].position}][name] = hash64(row);
  }
}

std::string RowTraces::first_difference(const StepRow& row, const RowTraces& other) const {
  const Row key(row.request, row.position);
  const auto mine = hashes_.find(key), theirs = other.hashes_.find(key);
  if (mine == hashes_.end() || theirs == other.hashes_.end()) return "";
  for (const std::string& name : names_) {
    const auto a = mine->second.find(name), b = theirs->second.find(name);
    if (a != mine->second.end() && b != theirs->second.end() && a->second != b->second) return name;
  }
  return "";
}

}  // namespace hadal
