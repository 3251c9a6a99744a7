// What a kernel knows of a tensor: a pointer, a number format, and how far apart rows are. Columns are contiguous.
// Functions here are static, inlined or templates on a caller's lambda: no symbol of theirs is shared between
// instruction sets. A kernel's arguments are all f64 (reference kernels only), or any mix of f32 with bf16 or with f16
// where its header names no format.
#pragma once
#include <cstdint>

#include "base/bf16.h"
#include "base/dtype.h"
#include "base/lane.h"

namespace hadal::kernels {

struct Rows {
  void* data = nullptr;
  int64_t stride = 0;  // elements between rows
  DType dtype = DType::f32;

  template <class T>
  [[gnu::always_inline]] T* row(int64_t r) const {
    return static_cast<T*>(data) + r * stride;
  }
};

template <class T>
struct Tag {
  using type = T;
};
template <class TagT>
using element = typename TagT::type;

// Calls f(Tag<T>...) with the element types of formats that are f32 or Half's.
template <class Half, class... T, class F>
void visit_with(F&& f) {
  f(Tag<T>{}...);
}
template <class Half, class... T, class F, class... Nums>
void visit_with(F&& f, DType dtype, Nums... rest) {
  if (dtype == dtype_of<Half>())
    visit_with<Half, T..., Half>(f, rest...);
  else
    visit_with<Half, T..., float>(f, rest...);
}
[[noreturn]] void mixed_halves();  // throws internal
// The same with bf16 or f16, whichever is among them: a model computes in one, so no kernel knows pairs of both.
template <class F, class... Nums>
void visit_small(F&& f, Nums... dtypes) {
  const bool has_f16 = ((dtypes == DType::f16) || ...), has_bf16 = ((dtypes == DType::bf16) || ...);
  if (has_f16 && has_bf16) mixed_halves();
  if (has_f16)
    visit_with<f16>(f, dtypes...);
  else
    visit_with<bf16>(f, dtypes...);
}
// The same, with f64 for all of them when the first is f64.
template <class Same, class Ignored>
struct Always {  // no alias: nvcc sees through one, and then misses the pack
  using type = Same;
};
template <class F, class... Nums>
void visit_numbers(F&& f, DType first, Nums... rest) {
  if (first == DType::f64)
    f(Tag<double>{}, Tag<typename Always<double, Nums>::type>{}...);
  else
    visit_small(f, first, rest...);
}

// Sums over rows are cut into chunks of this many rows whatever the number of threads; chunk sums are added in order.
inline constexpr int64_t kRowChunk = 128;

// Calls task(begin, end) for blocks of [0, count) of the given size (the last one may be shorter); without a lane for
// all of it at once, in the caller.
template <class Task>
void parallel_blocks(Lane* lane, int64_t count, int64_t block, Task&& task) {
  if (count <= block || lane == nullptr) {
    if (count > 0) task(int64_t(0), count);
    return;
  }
  lane->parallel_for((count + block - 1) / block, [&](int64_t i, int) {
    const int64_t end = (i + 1) * block;
    task(i * block, end < count ? end : count);
  });
}

// Rows per task so that a task touches about 16 Ki elements.
static inline int64_t rows_per_task(int64_t cols) {
  const int64_t rows = 16384 / (cols > 0 ? cols : 1);
  return rows < 1 ? 1 : rows;
}

// Calls f(r) for every row, in parallel.
template <class F>
void each_row(Lane* lane, int64_t rows, int64_t cols, F&& f) {
  parallel_blocks(lane, rows, rows_per_task(cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r);
  });
}

// Columns per task where every column is independent: about two tasks per thread, whole cache lines.
static inline int64_t cols_per_task(int64_t cols, const Lane* lane) {
  const int64_t tasks = 2 * lane->n_threads();
  const int64_t width = (cols / tasks + 63) / 64 * 64;
  return width > 0 ? width : 64;
}

}  // namespace hadal::kernels
