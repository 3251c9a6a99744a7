// Sums, scaling and the two reductions of kernels/elementwise.h.
#include "kernels/elementwise.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

template <class Y, class A, class B>
__global__ void __launch_bounds__(kBlock) add_elements(Lines<Y> y, Lines<A> a, Lines<B> b, int64_t rows, int64_t cols) {
  each_element(rows, cols,
               [&](int64_t r, int64_t c) { put(y.row(r) + c, value_of(a.row(r)[c]) + value_of(b.row(r)[c])); });
}

template <class X, class Y>
__global__ void __launch_bounds__(kBlock)
    scale_elements(Lines<Y> y, Lines<X> x, float factor, int64_t rows, int64_t cols) {
  each_element(rows, cols, [&](int64_t r, int64_t c) { put(y.row(r) + c, value_of(x.row(r)[c]) * factor); });
}

// The sum of a line in the pattern of cpu/elementwise.cpp: eight accumulators of four lanes over 32 columns, joined in
// pairs; what is left over, one by one.
template <class X>
__device__ double squares_of_line(const X* x, int count) {
  const int lane = lane_index(), whole = count / kWarp * kWarp;
  double sum = 0;
  for (int c = lane; c < whole; c += kWarp) {
    const double v = value_of(x[c]);
    sum += v * v;
  }
  sum += shuffle_xor(sum, 4);
  sum += shuffle_xor(sum, 8);
  sum += shuffle_xor(sum, 16);
  sum += shuffle_xor(sum, 1);
  sum += shuffle_xor(sum, 2);
  const double v = whole + lane < count ? double(value_of(x[whole + lane])) : 0.0;
  for (int i = 0; whole + i < count; ++i) sum += broadcast(v * v, i);
  return sum;
}

// Adds a number that is not negative to an ExactSum (base/exact_sum.cpp): integers, so any order gives the same.
__device__ void add_exactly(int64_t* limbs, int64_t* not_finite, double x) {
  const uint64_t bits = bits_of(x) & 0x7fffffffffffffffull;
  const int exponent = int(bits >> 52);
  if (exponent == 0x7ff) {  // NaN is the larger integer, and wins over infinity
    atomic_max(not_finite, bits << 12 ? 0x7ff8000000000000 : 0x7ff0000000000000);
    return;
  }
  const uint64_t mantissa = (bits & 0xfffffffffffffull) | (exponent > 0 ? uint64_t(1) << 52 : 0);
  const int shift = exponent > 0 ? exponent - 1 : 0, limb = shift / 32, up = shift % 32;
  const uint64_t low = mantissa << up, high = up ? mantissa >> (64 - up) : 0;
  atomic_add(&limbs[limb], int64_t(low & 0xffffffffu));
  atomic_add(&limbs[limb + 1], int64_t(low >> 32));
  atomic_add(&limbs[limb + 2], int64_t(high));
}

template <class X>
__global__ void __launch_bounds__(kBlock) sum_lines(Lines<X> x, int64_t rows, int64_t cols, int64_t* limbs) {
  const int64_t per_row = (cols + kSquaresLine - 1) / kSquaresLine, line = row_of_warp();
  if (line >= rows * per_row) return;
  const int64_t first = line % per_row * kSquaresLine, left = cols - first;
  const double sum = squares_of_line(x.row(line / per_row) + first, int(left < kSquaresLine ? left : kSquaresLine));
  if (lane_index() == 0) add_exactly(limbs, limbs + ExactSum::kLimbs, sum);
}

template <class X>
__global__ void __launch_bounds__(kBlock) find_not_finite(Lines<X> x, int64_t rows, int64_t cols, bool* result) {
  each_element(rows, cols, [&](int64_t r, int64_t c) {
    if (!is_finite(value_of(x.row(r)[c]))) store_same(result, false);
  });
}

__global__ void __launch_bounds__(kBlock) shift_elements(float* y, const double* by, int64_t count) {
  each_element(1, count, [&](int64_t, int64_t i) { y[i] = float(double(y[i]) + by[i]); });
}

}  // namespace

void shift(DeviceStream stream, const Shift& k) {
  check(k.dtype == DType::f32, ErrorKind::unsupported, "shift: {} on a device, which has F32", dtype_name(k.dtype));
  launch(shift_elements, over_elements("shift", 1, k.count, stream), static_cast<float*>(k.y), k.by, k.count);
}

void add_rows(DeviceStream stream, const AddRows& k) {
  visit(
      "add_rows",
      [&](auto y, auto a, auto b) {
        using Y = element<decltype(y)>;
        using A = element<decltype(a)>;
        using B = element<decltype(b)>;
        launch(add_elements<Y, A, B>, over_elements("add_rows", k.rows, k.cols, stream), lines<Y>(k.y), lines<A>(k.a),
               lines<B>(k.b), k.rows, k.cols);
      },
      k.y.dtype, k.a.dtype, k.b.dtype);
}

void scale_rows(DeviceStream stream, const ScaleRows& k) {
  visit(
      "scale_rows",
      [&](auto x, auto y) {
        using X = element<decltype(x)>;
        using Y = element<decltype(y)>;
        const Launch how = over_elements("scale_rows", k.rows, k.cols, stream);
        if (sizeof(X) != sizeof(Y) || k.factor != 1.0) {
          launch(scale_elements<X, Y>, how, lines<Y>(k.y), lines<X>(k.x), float(k.factor), k.rows, k.cols);
        } else if (k.y.data != k.x.data) {
          launch(copy_elements<X>, how, lines<X>(k.y), lines<X>(k.x), k.rows, k.cols);
        }
      },
      k.x.dtype, k.y.dtype);
}

void sum_of_squares(DeviceStream stream, const SumOfSquares& k) {
  static_assert(sizeof(ExactSum) == (ExactSum::kLimbs + 1) * 8, "limbs, then what is not finite");
  const int64_t n_lines = k.rows * ((k.cols + kSquaresLine - 1) / kSquaresLine);
  visit(
      "sum_of_squares",
      [&](auto x) {
        using X = element<decltype(x)>;
        launch(sum_lines<X>, over_rows("sum_of_squares", n_lines, stream), lines<X>(k.x), k.rows, k.cols,
               reinterpret_cast<int64_t*>(k.result));
      },
      k.x.dtype);
}

void all_finite(DeviceStream stream, const AllFinite& k) {
  fill_bytes(k.result, 1, sizeof(bool), stream);
  visit(
      "all_finite",
      [&](auto x) {
        using X = element<decltype(x)>;
        launch(find_not_finite<X>, over_elements("all_finite", k.rows, k.cols, stream), lines<X>(k.x), k.rows, k.cols,
               k.result);
      },
      k.x.dtype);
}

}  // namespace hadal::kernels::cuda
