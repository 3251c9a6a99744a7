// How the device's kernels walk over matrices: element by element, or a warp per row. A row's sums are made in one
// pattern of lanes, that of the vector kernels on AVX2 (cpu/vectors.h: four accumulators of eight lanes are the 32
// lanes of a warp), so they have the same bits.
#pragma once
#include "base/error.h"
#include "kernels/array.h"
#include "kernels/cuda/hopper/launch.h"
#include "kernels/cuda/numbers.h"

namespace hadal::kernels::cuda {

// A matrix as kernels take it: Rows of one type.
template <class T>
struct Lines {
  T* data;
  int64_t stride;

  __device__ T* row(int64_t r) const { return data + r * stride; }
};
template <class T>
Lines<T> lines(const Rows& rows) {
  return {static_cast<T*>(rows.data), rows.stride};
}

// visit_small for a device, which has no kernels in FP64 and F16.
template <class F, class... Nums>
void visit(const char* kernel, F&& f, Nums... dtypes) {
  for (const DType dtype : {dtypes...}) {
    check(dtype == DType::f32 || dtype == DType::bf16, ErrorKind::unsupported,
          "kernel '{}' takes F32 and BF16 on a GPU, not {}", kernel, dtype_name(dtype));
  }
  visit_with<bf16>(f, dtypes...);
}

// Elements of a block, several per thread.
inline constexpr int kElements = 4 * kBlock;
inline Launch over_elements(const char* name, int64_t rows, int64_t cols, DeviceStream stream) {
  return {.name = name, .blocks = (rows * cols + kElements - 1) / kElements, .stream = stream};
}
// f(row, column) for the elements of this block.
template <class F>
__device__ void each_element(int64_t rows, int64_t cols, F f) {
  const int64_t count = rows * cols;
  int64_t i = block_index() * kElements + thread_index();
  for (int part = 0; part < kElements / kBlock && i < count; ++part, i += kBlock) {
    const int64_t row = i / cols;
    f(row, i - row * cols);
  }
}

template <class T>
__global__ void __launch_bounds__(kBlock) copy_elements(Lines<T> y, Lines<T> x, int64_t rows, int64_t cols) {
  each_element(rows, cols, [&](int64_t r, int64_t c) { y.row(r)[c] = x.row(r)[c]; });
}

inline constexpr int kRowsPerBlock = kBlock / 32;
inline Launch over_rows(const char* name, int64_t rows, DeviceStream stream) {
  return {.name = name, .blocks = (rows + kRowsPerBlock - 1) / kRowsPerBlock, .stream = stream};
}
// The row of this warp: there may be none.
__device__ inline int64_t row_of_warp() { return block_index() * kRowsPerBlock + warp_index(); }

// f(column) for the columns of this lane.
template <class F>
__device__ void each_column(int64_t cols, F f) {
  for (int64_t c = lane_index(); c < cols; c += kWarp) f(c);
}

// Folds a row over the warp: a = step(a, column) per lane, then join(a, b) of lanes. The last 31 columns at most are
// taken as AVX2 takes them: whole eights by the first accumulator, what is left by the second.
template <class Step, class Join>
__device__ float fold_row(int64_t cols, float start, Step step, Join join) {
  const int lane = lane_index();
  const int64_t whole = cols / kWarp * kWarp;
  const int rest = int(cols - whole), eights = rest / 8 * 8;
  float a = start;
  for (int64_t c = lane; c < whole; c += kWarp) a = step(a, c);
  if (lane < 8) {
    for (int i = 0; i < eights; i += 8) a = step(a, whole + i + lane);
  } else if (lane - 8 < rest - eights) {
    a = step(a, whole + eights + lane - 8);
  }
  a = join(a, shuffle_xor(a, 8));   // accumulators 0 and 1, 2 and 3
  a = join(a, shuffle_xor(a, 16));  // both pairs
  a = join(a, shuffle_xor(a, 4));   // then halves of a vector
  a = join(a, shuffle_xor(a, 2));
  return join(a, shuffle_xor(a, 1));
}
template <class Step>
__device__ float sum_row(int64_t cols, Step step) {
  return fold_row(cols, 0.0f, step, [](float a, float b) { return a + b; });
}
template <class T>
__device__ float largest_in_row(const T* x, int64_t cols) {
  return fold_row(
      cols, -infinity(), [&](float a, int64_t c) { return larger(a, value_of(x[c])); },
      [](float a, float b) { return larger(a, b); });
}

}  // namespace hadal::kernels::cuda
