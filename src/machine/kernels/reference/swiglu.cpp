#include "kernels/swiglu.h"

#include <cmath>

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

template <class A>
A sigmoid(A x) {
  return A(1) / (A(1) + std::exp(-x));
}

template <class G, class H>
void forward_row(const Swiglu& k, int64_t r) {
  const G *g = k.g.row<G>(r), *u = k.u.row<G>(r);
  H* h = k.h.row<H>(r);
  for (int64_t c = 0; c < k.cols; ++c) h[c] = H(get(g[c]) * sigmoid(get(g[c])) * get(u[c]));
}

template <class G, class H, class D>
void backward_row(const SwigluBackward& k, int64_t r) {
  using A = accumulator<G>;
  const G *g = k.g.row<G>(r), *u = k.u.row<G>(r);
  const H* dh = k.dh.row<H>(r);
  D *dg = k.dg.row<D>(r), *du = k.du.row<D>(r);
  for (int64_t c = 0; c < k.cols; ++c) {
    const A gate = get(g[c]), up = get(u[c]), d = get(dh[c]), s = sigmoid(gate);
    dg[c] = D(d * up * s * (A(1) + gate * (A(1) - s)));
    du[c] = D(d * gate * s);
  }
}

}  // namespace

void swiglu(const Swiglu& k) {
  visit_numbers(
      [&](auto g, auto h) {
        each_row(k.lane, k.rows, k.cols,
                 [&](int64_t r) { forward_row<element<decltype(g)>, element<decltype(h)>>(k, r); });
      },
      k.g.dtype, k.h.dtype);
}

void swiglu_backward(const SwigluBackward& k) {
  visit_numbers(
      [&](auto g, auto dh, auto dg) {
        each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
          backward_row<element<decltype(g)>, element<decltype(dh)>, element<decltype(dg)>>(k, r);
        });
      },
      k.g.dtype, k.dh.dtype, k.dg.dtype);
}

}  // namespace hadal::kernels::reference
