#include "kernels/elementwise.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {

void add_rows(const AddRows& k) {
  visit_numbers(
      [&](auto y, auto a, auto b) {
        using Y = element<decltype(y)>;
        using A = element<decltype(a)>;
        using B = element<decltype(b)>;
        each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
          for (int64_t c = 0; c < k.cols; ++c) k.y.row<Y>(r)[c] = Y(get(k.a.row<A>(r)[c]) + get(k.b.row<B>(r)[c]));
        });
      },
      k.y.dtype, k.a.dtype, k.b.dtype);
}

template <class T>
static void shift_typed(const Shift& k) {
  T* y = static_cast<T*>(k.y);
  for (int64_t i = 0; i < k.count; ++i) y[i] = T(double(y[i]) + k.by[i]);
}

void shift(const Shift& k) { k.dtype == DType::f64 ? shift_typed<double>(k) : shift_typed<float>(k); }

// The formats need not agree here: copying converts between f64, f32 and bf16.
template <class X, class Y>
static void scale_typed(const ScaleRows& k) {
  each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
    const X* x = k.x.row<X>(r);
    Y* y = k.y.row<Y>(r);
    for (int64_t c = 0; c < k.cols; ++c) y[c] = Y(get(x[c]) * accumulator<X>(k.factor));
  });
}

void scale_rows(const ScaleRows& k) {
  if (k.x.dtype == DType::f64 && k.y.dtype != DType::f64) {
    visit_small([&](auto y) { scale_typed<double, element<decltype(y)>>(k); }, k.y.dtype);
  } else if (k.x.dtype != DType::f64 && k.y.dtype == DType::f64) {
    visit_small([&](auto x) { scale_typed<element<decltype(x)>, double>(k); }, k.x.dtype);
  } else {
    visit_numbers([&](auto x, auto y) { scale_typed<element<decltype(x)>, element<decltype(y)>>(k); }, k.x.dtype,
                  k.y.dtype);
  }
}

void sum_of_squares(const SumOfSquares& k) {
  visit_numbers(
      [&](auto x) {
        using X = element<decltype(x)>;
        k.lane->parallel_for(k.rows, [&](int64_t r, int worker) {
          const X* row = k.x.row<X>(r);
          for (int64_t begin = 0; begin < k.cols; begin += kSquaresLine) {
            const int64_t end = std::min(k.cols, begin + kSquaresLine);
            double line = 0;
            for (int64_t c = begin; c < end; ++c) line += double(get(row[c])) * double(get(row[c]));
            k.workers[worker].add(line);
          }
        });
      },
      k.x.dtype);
  for (int w = 0; w < k.lane->n_threads(); ++w) k.result->merge(k.workers[w]);
}

void all_finite(const AllFinite& k) {
  std::atomic<bool> finite{true};
  visit_numbers(
      [&](auto x) {
        using X = element<decltype(x)>;
        each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
          for (int64_t c = 0; c < k.cols; ++c)
            if (!std::isfinite(get(k.x.row<X>(r)[c]))) finite = false;
        });
      },
      k.x.dtype);
  *k.result = finite;
}

}  // namespace hadal::kernels::reference
