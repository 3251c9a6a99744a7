#include "kernels/softmax_part.h"

#include <algorithm>
#include <cmath>

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

template <class X>
void statistics_of_row(const SoftmaxStatistics& k, int64_t r) {
  X* x = k.logits.row<X>(r);
  X* to = static_cast<X*>(k.statistics) + 4 * r;
  const int64_t target = k.targets[r];
  const X top = *std::max_element(x, x + k.cols), chosen = target < 0 ? X(0) : x[target];
  X sum = 0;
  for (int64_t c = 0; c < k.cols; ++c) {
    const X e = std::exp(x[c] - top);
    sum += e;
    if (k.keep) x[c] = e;
  }
  to[0] = top, to[1] = sum, to[2] = chosen, to[3] = target < 0 ? X(0) : X(1);
}

template <class X>
void gradient_of_row(const SoftmaxGradient& k, int64_t r) {
  X* x = k.logits.row<X>(r);
  const X* factors = static_cast<const X*>(k.factors) + 2 * r;
  if (factors[0] == 0) return std::fill(x, x + k.cols, X(0)), void();
  for (int64_t c = 0; c < k.cols; ++c) x[c] *= factors[0];
  if (k.targets[r] >= 0) x[k.targets[r]] = factors[1];
}

}  // namespace

void softmax_statistics(const SoftmaxStatistics& k) {
  each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
    k.logits.dtype == DType::f64 ? statistics_of_row<double>(k, r) : statistics_of_row<float>(k, r);
  });
}

void softmax_gradient(const SoftmaxGradient& k) {
  each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
    k.logits.dtype == DType::f64 ? gradient_of_row<double>(k, r) : gradient_of_row<float>(k, r);
  });
}

}  // namespace hadal::kernels::reference
