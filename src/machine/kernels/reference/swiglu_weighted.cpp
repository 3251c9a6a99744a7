// The formula, element by element.
#include "kernels/swiglu_weighted.h"

#include <cmath>

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

template <class T>
void backward_row(const SwigluWeighted& k, int64_t r) {
  using A = accumulator<T>;
  T *g = k.g.row<T>(r), *u = k.u.row<T>(r), *dh = k.dh.row<T>(r);
  const A* weights = static_cast<const A*>(k.weight);
  const A weight = weights ? weights[r] : A(1);
  A dot = 0;
  for (int64_t c = 0; c < k.cols; ++c) {
    const A gate = get(g[c]), up = get(u[c]), d = get(dh[c]), s = A(1) / (A(1) + std::exp(-gate)), h = gate * s * up;
    dot += d * h;
    g[c] = T(weight * d * up * s * (A(1) + gate * (A(1) - s)));
    u[c] = T(weight * d * gate * s);
    dh[c] = T(weight * h);
  }
  if (weights) static_cast<A*>(k.dweight)[r] = dot;
}

}  // namespace

void swiglu_weighted_backward(const SwigluWeighted& k) {
  visit_numbers(
      [&](auto g) { each_row(k.lane, k.rows, k.cols, [&](int64_t r) { backward_row<element<decltype(g)>>(k, r); }); },
      k.g.dtype);
}

}  // namespace hadal::kernels::reference
