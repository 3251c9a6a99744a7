// What a kernel reads and writes: every pointer in its arguments, with the bytes behind it.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/array.h"

namespace hadal::staged {

struct Operand {
  void** where;  // the pointer inside the arguments
  int64_t bytes;
  bool written;
};

class Operands {
 public:
  template <class T>
  void reads(T*& pointer, int64_t count, int64_t element_bytes) {
    list(const_cast<void**>(reinterpret_cast<const void* const*>(&pointer)), count * element_bytes, false);
  }
  template <class T>
  void writes(T*& pointer, int64_t count, int64_t element_bytes) {
    list(reinterpret_cast<void**>(&pointer), count * element_bytes, true);
  }
  // Rows of `cols` elements each, of which the last one ends after cols.
  void reads(kernels::Rows& rows, int64_t n, int64_t cols) { list(&rows.data, bytes_of(rows, n, cols), false); }
  void writes(kernels::Rows& rows, int64_t n, int64_t cols) { list(&rows.data, bytes_of(rows, n, cols), true); }

  // Lives as long as this: for what stands behind a pointer on the host.
  template <class T>
  T* keep(const T* from, int64_t n) {
    auto copy = std::make_shared<std::vector<T>>(from, from + n);
    kept_.push_back(copy);
    return copy->data();
  }
  const std::vector<Operand>& all() const { return all_; }

 private:
  static int64_t bytes_of(const kernels::Rows& rows, int64_t n, int64_t cols) {
    return n > 0 && cols > 0 ? ((n - 1) * rows.stride + cols) * dtype_bytes(rows.dtype) : 0;
  }
  void list(void** where, int64_t bytes, bool written) {
    if (*where != nullptr) all_.push_back({where, bytes, written});
  }

  std::vector<Operand> all_;
  std::vector<std::shared_ptr<void>> kept_;
};

// One past the largest of n indexes.
inline int64_t beyond(const int32_t* indexes, int64_t n) {
  return n > 0 ? int64_t(*std::max_element(indexes, indexes + n)) + 1 : 0;
}

}  // namespace hadal::staged
