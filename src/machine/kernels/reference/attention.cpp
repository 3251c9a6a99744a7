// Attention as the formula says: one softmax per row and head, no tiles. Backward recomputes the probabilities from
// lse, once per query for dq and once per key for dk and dv, so that every task owns what it writes and all sums run in
// ascending order.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "base/float_formats.h"
#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

// One (segment, head) seen as rows of elements T; all arithmetic in A.
template <class T>
struct HeadView {
  using A = accumulator<T>;
  const Attention& a;
  const Segment& s;
  int64_t head;

  int64_t position(int64_t query) const { return s.n_k - s.n_q + query; }
  const T* q(int64_t i) const { return a.q.row<T>(s.q_begin + i) + head * a.d_qk(); }
  const T* k(int64_t j) const { return a.k_nope.row<T>(a.key_row(s, j)) + head / a.group * a.k_head_stride; }
  const T* k_rope(int64_t j) const { return a.k_rope.row<T>(a.key_row(s, j)); }
  const T* v(int64_t j) const { return a.v.row<T>(a.key_row(s, j)) + head / a.group * a.v_head_stride; }
  T* o(int64_t i) const { return a.o.row<T>(s.q_begin + i) + head * a.d_v; }
  A& lse(int64_t i) const { return a.lse.row<A>(s.q_begin + i)[head]; }

  template <class Y>
  static A dot(const T* x, const Y& y, int64_t n) {
    A sum = 0;
    for (int64_t c = 0; c < n; ++c) sum += A(x[c]) * A(get(y[c]));
    return sum;
  }
  // A key of a cache in FP8: codes times the scales of their chunks.
  struct Codes {
    const e4m3* codes;
    const float* scales;
    A operator[](int64_t c) const { return A(float(codes[c])) * A(scales[c / kAttentionChunk]); }
  };
  Codes coded(int64_t j) const {
    const int64_t row = a.key_row(s, j);
    return {a.k_nope.row<const e4m3>(row), a.k_scales.row<const float>(row)};
  }
  A value(int64_t j, int64_t c) const { return a.in_codes() ? coded(j)[c] : A(v(j)[c]); }
  A score(int64_t i, int64_t j) const {
    if (a.in_codes()) {
      const bf16* rope = a.k_rope.row<const bf16>(a.key_row(s, j));
      return (dot(q(i), coded(j), a.d_nope) + dot(q(i) + a.d_nope, rope, a.d_rope)) * A(a.scale);
    }
    return (dot(q(i), k(j), a.d_nope) + dot(q(i) + a.d_nope, k_rope(j), a.d_rope)) * A(a.scale);
  }
  A probability(int64_t i, int64_t j) const { return std::exp(score(i, j) - lse(i)); }
};

// A row of numbers per thread.
template <class A>
struct WorkerRows {
  int64_t stride;
  Workspace space;
  WorkerRows(Lane& lane, int64_t count)
      : stride((count + 7) / 8 * 8), space(lane, lane.n_threads() * stride * int64_t(sizeof(A))) {}
  A* row(int worker) const { return reinterpret_cast<A*>(space.data) + worker * stride; }
};

int64_t longest_segment(const Attention& a) {
  int64_t n = 0;
  for (int64_t s = 0; s < a.n_segments; ++s) n = std::max(n, a.segments[s].n_k);
  return n;
}

// o_i = sum_j p_ij v_j with p = softmax over keys j <= i of (q_i . k_j) * scale (§1.3). lse_i = log sum_j exp s_ij is
// kept: with it the backward makes every p again, and no matrix of scores is ever stored.
template <class T>
void forward_row(const HeadView<T>& view, int64_t i, accumulator<T>* p) {
  using A = accumulator<T>;
  const int64_t n = view.position(i) + 1, d_v = view.a.d_v;
  A largest = -std::numeric_limits<A>::infinity(), sum = 0;
  for (int64_t j = 0; j < n; ++j) {
    p[j] = view.score(i, j);
    if (!(p[j] <= largest)) largest = p[j];
  }
  for (int64_t j = 0; j < n; ++j) sum += p[j] = std::exp(p[j] - largest);
  A* out = p + view.s.n_k;
  for (int64_t c = 0; c < d_v; ++c) out[c] = 0;
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t c = 0; c < d_v; ++c) out[c] += p[j] * view.value(j, c);
  }
  for (int64_t c = 0; c < d_v; ++c) view.o(i)[c] = T(out[c] / sum);
  view.lse(i) = largest + std::log(sum);
}

template <class T>
void forward(const Attention& a) {
  const WorkerRows<accumulator<T>> space(*a.lane, longest_segment(a) + a.d_v);
  for (int64_t s = 0; s < a.n_segments; ++s) {
    const Segment& segment = a.segments[s];
    a.lane->parallel_for(segment.n_q * a.n_heads, [&](int64_t task, int worker) {
      forward_row(HeadView<T>{a, segment, task % a.n_heads}, task / a.n_heads, space.row(worker));
    });
  }
}

template <class T>
struct Backward {
  using A = accumulator<T>;
  const AttentionBackward& b;
  const Attention& a;

  const T* d_o(const HeadView<T>& view, int64_t i) const {
    return b.d_o.row<T>(view.s.q_begin + i) + view.head * a.d_v;
  }
  // scale * ds_ij with p_ij given: ds = p * (do_i . v_j - delta_i), delta_i = do_i . o_i (= sum_j p_ij do_i . v_j, the
  // softmax's own pull)
  A score_gradient(const HeadView<T>& view, int64_t i, int64_t j, A p) const {
    const A delta = HeadView<T>::dot(d_o(view, i), view.o(i), a.d_v);
    return p * (HeadView<T>::dot(d_o(view, i), view.v(j), a.d_v) - delta) * A(a.scale);
  }

  void query(const HeadView<T>& view, int64_t i, A* dq) const {
    for (int64_t c = 0; c < a.d_qk(); ++c) dq[c] = 0;
    for (int64_t j = 0; j <= view.position(i); ++j) {
      const A ds = score_gradient(view, i, j, view.probability(i, j));
      for (int64_t c = 0; c < a.d_nope; ++c) dq[c] += ds * A(view.k(j)[c]);
      for (int64_t c = 0; c < a.d_rope; ++c) dq[a.d_nope + c] += ds * A(view.k_rope(j)[c]);
    }
    T* out = b.dq.row<T>(view.s.q_begin + i) + view.head * a.d_qk();
    for (int64_t c = 0; c < a.d_qk(); ++c) out[c] = T(dq[c]);
  }

  // Adds what head view.head gives to key j.
  void add_key(const HeadView<T>& view, int64_t j, A* dk, A* dv) const {
    const int64_t first = view.position(0) < j ? j - view.position(0) : 0;
    for (int64_t i = first; i < view.s.n_q; ++i) {
      const A p = view.probability(i, j), ds = score_gradient(view, i, j, p);
      for (int64_t c = 0; c < a.d_qk(); ++c) dk[c] += ds * A(view.q(i)[c]);
      for (int64_t c = 0; c < a.d_v; ++c) dv[c] += p * A(d_o(view, i)[c]);
    }
  }

  void key(const Segment& segment, int64_t j, A* dk) const {
    A* dv = dk + a.d_qk();
    const int64_t row = segment.k_begin + j;
    for (int64_t c = 0; c < a.d_qk() + a.d_v; ++c) dk[c] = 0;
    for (int64_t head = 0; head < a.n_heads; ++head) {
      add_key({a, segment, head}, j, dk, dv);
      const bool last = head + 1 == a.n_heads;
      if (!a.shares_k() || last) {
        T* out = b.dk_nope.row<T>(row) + head * a.k_head_stride;
        for (int64_t c = 0; c < a.d_nope; ++c) out[c] = T(dk[c]), dk[c] = 0;
      }
      if (!a.shares_v() || last) {
        T* out = b.dv.row<T>(row) + head * a.v_head_stride;
        for (int64_t c = 0; c < a.d_v; ++c) out[c] = T(dv[c]), dv[c] = 0;
      }
    }
    for (int64_t c = 0; c < a.d_rope; ++c) b.dk_rope.row<T>(row)[c] = T(dk[a.d_nope + c]);
  }

  void run() const {
    const WorkerRows<A> rows(*a.lane, a.d_qk() + a.d_v);
    for (int64_t s = 0; s < a.n_segments; ++s) {
      const Segment& segment = a.segments[s];
      a.lane->parallel_for(segment.n_q * a.n_heads + segment.n_k, [&](int64_t task, int worker) {
        A* space = rows.row(worker);
        if (task < segment.n_k) return key(segment, task, space);
        task -= segment.n_k;
        query({a, segment, task % a.n_heads}, task / a.n_heads, space);
      });
    }
  }
};

}  // namespace

void attention_forward(const Attention& a) {
  visit_numbers([&](auto type) { forward<element<decltype(type)>>(a); }, a.q.dtype);
}

void attention_backward(const AttentionBackward& b) {
  visit_numbers([&](auto type) { Backward<element<decltype(type)>>{b, b.forward}.run(); }, b.forward.q.dtype);
}

}  // namespace hadal::kernels::reference
