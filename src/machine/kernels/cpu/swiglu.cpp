#include "kernels/swiglu.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class G, class H>
void forward_rows(const Swiglu& k, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const G *g = k.g.row<G>(r), *u = k.u.row<G>(r);
    H* h = k.h.row<H>(r);
    each_vector(k.cols, [&](int64_t c, auto n) {
      const V gate = load_lanes(g + c, n);
      // silu(g) u = g u / (1 + e^-g): one division
      const V denominator = add(broadcast(1.0f), exp(neg(gate)));
      store_lanes(h + c, mul(div(gate, denominator), load_lanes(u + c, n)), n);
    });
  }
}

template <class G, class H, class D>
void backward_rows(const SwigluBackward& k, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const G *g = k.g.row<G>(r), *u = k.u.row<G>(r);
    const H* dh = k.dh.row<H>(r);
    D *dg = k.dg.row<D>(r), *du = k.du.row<D>(r);
    each_vector(k.cols, [&](int64_t c, auto n) {
      const V gate = load_lanes(g + c, n), up = load_lanes(u + c, n), d = load_lanes(dh + c, n), s = sigmoid(gate);
      const V one = broadcast(1.0f), slope = mul(s, fma(gate, sub(one, s), one));
      store_lanes(dg + c, mul(mul(d, up), slope), n);
      store_lanes(du + c, mul(d, mul(gate, s)), n);
    });
  }
}

}  // namespace

void swiglu(const Swiglu& k) {
  visit_small(
      [&](auto g, auto h) {
        parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
          forward_rows<element<decltype(g)>, element<decltype(h)>>(k, begin, end);
        });
      },
      k.g.dtype, k.h.dtype);
}

void swiglu_backward(const SwigluBackward& k) {
  visit_small(
      [&](auto g, auto dh, auto dg) {
        parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
          backward_rows<element<decltype(g)>, element<decltype(dh)>, element<decltype(dg)>>(k, begin, end);
        });
      },
      k.g.dtype, k.dh.dtype, k.dg.dtype);
}

}  // namespace hadal::kernels::HADAL_ISA
