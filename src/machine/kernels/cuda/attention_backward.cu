// Attention backward without a workspace: probabilities are made again from lse, once by a warp per query and head for
// dq, and once by a warp per key and 128 columns of [dk_nope | dk_rope | dv], which walks over the heads; so everything
// has one owner, and what heads share is summed in their order, in the fixed groups of kernels/attention.h.
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/kernels.h"

namespace hadal::kernels::cuda {
namespace {

template <class T>
struct Gradients {
  Lines<T> d_o, dq, dk_nope, dk_rope, dv;
  int64_t groups;  // of heads whose sums are taken together

  __device__ const T* d_out(const View<T>& x, int64_t i, int64_t head) const {
    return d_o.row(x.s.q_begin + i) + head * x.d_v;
  }
};

// p and ds of query i and key j.
struct Pair {
  float p, ds;
};
template <class T>
__device__ Pair differentiate(const View<T>& x, const Gradients<T>& g, int64_t i, int64_t j, int64_t head) {
  const int64_t row = x.s.q_begin + i;
  const T *d_o = g.d_out(x, i, head), *o = x.o.row(row) + head * x.d_v;
  const float scale = float(x.scale), lse = x.lse.row(row)[head] * kLog2e;
  const float s = score(x.query(i, head), x.key(j, head), x.d_nope, x.key_rope(j), x.d_rope);
  const float dp = dot(d_o, x.value(j, head), x.d_v);
  const float p = power_of_two(fused(s, scale * kLog2e, -lse));
  return {p, p * (dp - pull_of(d_o, o, x.d_v)) * scale};
}

template <class T>
__global__ void __launch_bounds__(kAttentionThreads) gradient_of_queries(View<T> x, Gradients<T> g) {
  const int64_t number = block_index() * kAttentionWarps + warp_index();
  if (number >= x.s.n_q * x.n_heads) return;
  const int64_t i = number / x.n_heads, head = number % x.n_heads, keys = x.position(i) + 1;
  auto& room = shared<Exchange>().first[warp_index()];
  float total[kColumns] = {}, acc[kColumns];
  for (int64_t tile = 0; tile < keys; tile += kAttentionTile) {
    const int seen = int(keys - tile < kAttentionTile ? keys - tile : kAttentionTile);
    float ds[kPairs];
    HADAL_UNROLL
    for (int n = 0; n < kPairs; ++n) {
      const int64_t key = tile + lane_index() + kWarp * n;
      ds[n] = key < keys ? differentiate(x, g, i, key, head).ds : 0.0f;
    }
    apply_tile(acc, ds, room, seen, x.d_qk(), [&](int key, int64_t c) { return x.key_at(tile + key, head, c); });
    HADAL_UNROLL
    for (int n = 0; n < kColumns; ++n) total[n] += acc[n];
  }
  T* dq = g.dq.row(x.s.q_begin + i) + head * x.d_qk();
  HADAL_UNROLL
  for (int n = 0; n < kColumns; ++n) {
    const int64_t c = lane_index() + kWarp * n;
    if (c < x.d_qk()) put(dq + c, total[n]);
  }
}

constexpr int kOwn = 4, kOwnColumns = 32 * kOwn;  // columns of a lane and of a warp

// A column of [dk_nope | dk_rope | dv]: where its gradient goes, and whether all heads share it.
template <class T>
struct Column {
  T* to;
  int64_t at;  // in q, or in do
  int64_t head_stride;
  bool is_value, shared;
};
template <class T>
__device__ Column<T> column_at(const View<T>& x, const Gradients<T>& g, int64_t key, int64_t c) {
  const int64_t row = x.s.k_begin + key;
  if (c < x.d_nope) return {g.dk_nope.row(row) + c, c, x.k_head_stride, false, x.k_head_stride == 0 && x.n_heads > 1};
  if (c < x.d_qk()) return {g.dk_rope.row(row) + c - x.d_nope, c, 0, false, true};
  const int64_t at = c - x.d_qk();
  return {g.dv.row(row) + at, at, x.v_head_stride, true, x.v_head_stride == 0 && x.n_heads > 1};
}

// sum[n] = what one head gives to this lane's columns of a key: over tiles of queries in order, rows ascending in each.
template <class T>
__device__ void gradient_of_head(const View<T>& x, const Gradients<T>& g, int64_t key, int64_t head,
                                 const Column<T> (&columns)[kOwn], int64_t n_columns, float (&sum)[kOwn]) {
  HADAL_UNROLL
  for (int n = 0; n < kOwn; ++n) sum[n] = 0;
  float(&all_p)[kAttentionTile] = shared<Exchange>().first[warp_index()];
  float(&all_ds)[kAttentionTile] = shared<Exchange>().second[warp_index()];
  const int64_t begin = x.position(0) > key ? x.position(0) : key;  // the first position that sees the key
  for (int64_t tile = begin / kAttentionTile * kAttentionTile; tile < x.s.n_k; tile += kAttentionTile) {
    float p[kPairs], ds[kPairs];
    HADAL_UNROLL
    for (int n = 0; n < kPairs; ++n) {
      const int64_t position = tile + lane_index() + kWarp * n;
      const bool sees = position >= begin && position < x.s.n_k;
      const Pair pair = sees ? differentiate(x, g, position - x.position(0), key, head) : Pair{0, 0};
      p[n] = pair.p, ds[n] = pair.ds;
    }
    tell(all_p, p), tell(all_ds, ds);
    warp_barrier();
    float acc[kOwn] = {};
    const int first = begin > tile ? int(begin - tile) : 0;
    const int end = int(x.s.n_k - tile < kAttentionTile ? x.s.n_k - tile : kAttentionTile);
    for (int r = first; r < end; ++r) {
      const int64_t i = tile + r - x.position(0);
      const T *q = x.query(i, head), *d_o = g.d_out(x, i, head);
      HADAL_UNROLL
      for (int n = 0; n < kOwn; ++n) {
        if (lane_index() + kWarp * n >= n_columns) continue;
        acc[n] = columns[n].is_value ? fused(all_p[r], value_of(d_o[columns[n].at]), acc[n])
                                     : fused(all_ds[r], value_of(q[columns[n].at]), acc[n]);
      }
    }
    warp_barrier();  // before the next tile's
    HADAL_UNROLL
    for (int n = 0; n < kOwn; ++n) sum[n] += acc[n];
  }
}

template <class T>
__global__ void __launch_bounds__(kAttentionThreads) gradient_of_keys(View<T> x, Gradients<T> g) {
  const int64_t width = x.d_qk() + x.d_v, parts = (width + kOwnColumns - 1) / kOwnColumns;
  const int64_t number = block_index() * kAttentionWarps + warp_index();
  if (number >= x.s.n_k * parts) return;
  const int64_t key = number / parts, first = number % parts * kOwnColumns, n_columns = width - first;
  Column<T> columns[kOwn] = {};
  HADAL_UNROLL
  for (int n = 0; n < kOwn; ++n)
    if (lane_index() + kWarp * n < n_columns) columns[n] = column_at(x, g, key, first + lane_index() + kWarp * n);
  float sum[kOwn], group_sum[kOwn] = {}, total[kOwn] = {};
  int64_t group = -1;
  for (int64_t head = 0; head < x.n_heads; ++head) {
    const int64_t of_head = ((head + 1) * g.groups - 1) / x.n_heads;
    const bool begins = of_head != group;
    gradient_of_head(x, g, key, head, columns, n_columns, sum);
    HADAL_UNROLL
    for (int n = 0; n < kOwn; ++n) {
      if (lane_index() + kWarp * n >= n_columns) continue;
      if (!columns[n].shared) put(columns[n].to + head * columns[n].head_stride, sum[n]);
      if (begins && group >= 0) total[n] = group == 0 ? group_sum[n] : total[n] + group_sum[n];
      group_sum[n] = begins ? sum[n] : group_sum[n] + sum[n];
    }
    group = of_head;
  }
  HADAL_UNROLL
  for (int n = 0; n < kOwn; ++n) {
    if (lane_index() + kWarp * n >= n_columns || !columns[n].shared) continue;
    put(columns[n].to, group == 0 ? group_sum[n] : total[n] + group_sum[n]);
  }
}

}  // namespace

void attention_backward(DeviceStream stream, const AttentionBackward& b) {
  const Attention& a = b.forward;
  check_attention("attention_backward", a);
  visit(
      "attention_backward",
      [&](auto type) {
        using T = element<decltype(type)>;
        const Gradients<T> g{lines<T>(b.d_o),     lines<T>(b.dq), lines<T>(b.dk_nope),
                             lines<T>(b.dk_rope), lines<T>(b.dv), attention_head_groups(a)};
        for (int64_t s = 0; s < a.n_segments; ++s) {
          const int64_t parts = (a.d_qk() + a.d_v + kOwnColumns - 1) / kOwnColumns;
          const auto warps = [&](int64_t n) { return over_warps("attention_backward", n, sizeof(Exchange), stream); };
          const View<T> view = view_of<T>(a, a.segments[s]);
          launch(gradient_of_queries<T>, warps(a.segments[s].n_q * a.n_heads), view, g);
          launch(gradient_of_keys<T>, warps(a.segments[s].n_k * parts), view, g);
        }
      },
      a.q.dtype);
}

}  // namespace hadal::kernels::cuda
