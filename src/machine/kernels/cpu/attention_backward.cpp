// Attention backward, one task per segment and group of heads. For each head the queries, output gradients, lse and
// delta are packed once; each key tile is packed once and meets all blocks of queries that see it: recompute P, then dv
// += P^T do, dp = do v^T, ds = P (dp - delta) scale, dk += ds^T q, dq += ds k. Query blocks are tiles of positions too,
// so only the block on the diagonal is masked. What heads share goes through partial sums per group, added in order at
// the end. With AVX512-BF16 and bf16 rows all five products multiply bf16 pairs: P and ds are rounded to bf16.
#include "kernels/attention.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/attention_tile.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

constexpr float kLog2e = 1.44269504088896341f;
constexpr int64_t kVectors = kTile / kW;

template <class U, class T>
struct BackwardTask {
  const AttentionBackward& b;
  const Attention& a;
  const AttentionTask& task;
  const Segment& s;
  int64_t first_key;  // of the segment among all keys of all segments
  int64_t group;      // index of the group of heads
  int64_t n_keys;     // of all segments
  float* partials;    // AttentionPlan's
  AttentionWidths w;
  AttentionBackwardSpace x;

  int64_t lead() const { return attention_lead_rows(s); }
  int64_t rows() const { return attention_buffer_rows(s); }
  int64_t first_position() const { return s.n_k - s.n_q - lead(); }  // of buffer row 0, a tile border

  void pack_head(int64_t head) const {
    clear_rows(x.q, lead(), w.ld_qk);
    clear_rows(x.d_o, lead(), w.ld_v);
    for (int64_t row = 0; row < rows(); ++row) x.delta[row] = 0, x.lse[row] = __builtin_inff();
    for (int64_t i = 0; i < s.n_q; ++i) pack_query(head, i, lead() + i);
    const int64_t end = lead() + s.n_q;
    clear_rows(x.q + end * w.ld_qk, rows() - end, w.ld_qk);
    clear_rows(x.d_o + end * w.ld_v, rows() - end, w.ld_v);
    clear_rows(x.dq, rows(), w.ld_qk_cols);
#if defined(HADAL_ISA_avx512_bf16)
    if constexpr (U::kPer == 2) {
      pair_rows(x.q_cols, w.ld_qk_cols, x.q, w.ld_qk, rows(), a.d_qk());
      pair_rows(x.do_cols, w.ld_v_cols, x.d_o, w.ld_v, rows(), a.d_v);
    }
#endif
  }

  void pack_query(int64_t head, int64_t i, int64_t row) const {
    const T* q = row_of<const T>(a.q, s.q_begin + i) + head * a.d_qk();
    const T* d_o = row_of<const T>(b.d_o, s.q_begin + i) + head * a.d_v;
    const T* o = row_of<const T>(a.o, s.q_begin + i) + head * a.d_v;
    if (i + kRowsAhead < s.n_q) {
      prefetch_row(q + kRowsAhead * a.q.stride, a.d_qk());
      prefetch_row(d_o + kRowsAhead * b.d_o.stride, a.d_v);
      prefetch_row(o + kRowsAhead * a.o.stride, a.d_v);
    }
    put_row<U>(x.q + row * w.ld_qk, q, a.d_qk(), q, 0);
    put_row<U>(x.d_o + row * w.ld_v, d_o, a.d_v, d_o, 0);
    V sum = zero();
    int64_t c = 0;
    for (; c + kW <= a.d_v; c += kW) sum = fma(load(d_o + c), load(o + c), sum);
    if (c < a.d_v) sum = fma(load_n(d_o + c, a.d_v - c), load_n(o + c, a.d_v - c), sum);
    x.delta[row] = reduce_add(sum);
    x.lse[row] = row_of<const float>(a.lse, s.q_begin + i)[head] * kLog2e;
  }

  void pack_tile(int64_t head, int64_t tile_begin) const {
    float* keys = U::kPer == 1 ? x.k_cols : x.stage;
    stage_keys<U, T>(keys, w.ld_qk, a, s, head, tile_begin);
    transpose_tile(x.kt, keys, w.ld_qk, w.qk_words);
#if defined(HADAL_ISA_avx512_bf16)
    if constexpr (U::kPer == 2) pair_rows(x.k_cols, w.ld_qk_cols, keys, w.ld_qk, kTile, a.d_qk());
#endif
    stage_values<U, T>(x.stage, w.ld_v, a, s, head, tile_begin);
    transpose_tile(x.vt, x.stage, w.ld_v, w.v_words);
    clear_rows(x.dk, kTile, w.ld_qk_cols);
    clear_rows(x.dv, kTile, w.ld_v_cols);
  }

  // A vector of P and ds of one row, from s and dp: keys v * kW on, `left` of them seen.
  template <bool kWhole>
  __attribute__((always_inline)) void differentiate(int64_t block_row, int64_t buffer_row, int64_t v, int64_t left,
                                                    V& p, V& ds) const {
    p = ds = zero();
    if (!kWhole && left <= 0) return;
    const float* s_row = x.s + block_row * kTile + v * kW;
    const float* dp_row = x.dp + block_row * kTile + v * kW;
    const V factor = broadcast(float(a.scale) * kLog2e), scale = broadcast(float(a.scale));
    p = power_of_two(fma(load(s_row), factor, neg(broadcast(x.lse[buffer_row]))));
    ds = mul(mul(p, sub(load(dp_row), broadcast(x.delta[buffer_row]))), scale);
    if (!kWhole && left < kW) {
      p = select(first_n(left), p, zero());
      ds = select(first_n(left), ds, zero());
    }
  }

  // s and dp of a block become P and ds, as the products need them.
  template <bool kWhole>
  void differentiate_block(int64_t block, const Causal& causal) const {
    for (int64_t row = 0; row < kTile; row += U::kPer) {
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v) {
        V p[2], ds[2];
#pragma GCC unroll 2
        for (int64_t i = 0; i < U::kPer; ++i) {
          const int64_t left = kWhole ? kTile : causal.limit(row + i) - v * kW;
          differentiate<kWhole>(row + i, block + row + i, v, left, p[i], ds[i]);
        }
        if constexpr (U::kPer == 1) {
          store(x.s + row * kTile + v * kW, p[0]);
          store(x.dp + row * kTile + v * kW, ds[0]);
        } else {
#if defined(HADAL_ISA_avx512_bf16)
          const int64_t at = row / 2 * kTile + v * kW;
          store(x.p_across + at, as_words(interleave(p[0], p[1])));
          store(x.ds_across + at, as_words(interleave(ds[0], ds[1])));
          bf16* words = reinterpret_cast<bf16*>(x.ds_words) + row * kTile + v * kW;
          store(words, ds[0]);
          store(words + kTile, ds[1]);
#endif
        }
      }
    }
  }

  void visit_block(int64_t block, int64_t tile_begin) const {
    const Causal causal{first_position() + block - tile_begin + 1};
    score_tile<U>({x.q + block * w.ld_qk, w.ld_qk, x.kt, kTile, x.s, kTile}, causal, 0, kTile, w.qk_words);
    score_tile<U>({x.d_o + block * w.ld_v, w.ld_v, x.vt, kTile, x.dp, kTile}, causal, 0, kTile, w.v_words);
    if (causal.limit(0) == kTile)
      differentiate_block<true>(block, causal);
    else
      differentiate_block<false>(block, causal);
    const float *q = x.q_cols + block / U::kPer * w.ld_qk_cols, *d_o = x.do_cols + block / U::kPer * w.ld_v_cols;
    apply_across<U>({x.p_across, kTile, d_o, w.ld_v_cols, x.dv, w.ld_v_cols}, causal, a.d_v);
    apply_across<U>({x.ds_across, kTile, q, w.ld_qk_cols, x.dk, w.ld_qk_cols}, causal, a.d_qk());
    apply_tile<U, Into::add>(
        {x.ds_words, kTile / U::kPer, x.k_cols, w.ld_qk_cols, x.dq + block * w.ld_qk_cols, w.ld_qk_cols}, causal, 0,
        kTile, a.d_qk());
  }

  float* partial(int64_t key) const {
    return partials + (group * n_keys + first_key + key) * attention_shared_columns(a);
  }
  static void put_partial(float* to, const float* from, int64_t n, bool first) {
    for (int64_t c = 0; c < n; ++c) to[c] = first ? from[c] : to[c] + from[c];
  }

  void write_tile(int64_t head, int64_t tile_begin) const {
    const int64_t n = s.n_k - tile_begin < kTile ? s.n_k - tile_begin : kTile;
    const bool first = head == task.head;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t row = s.k_begin + tile_begin + j;
      const float *dk = x.dk + j * w.ld_qk_cols, *dv = x.dv + j * w.ld_v_cols;
      float* shared = partial(tile_begin + j);
      put_partial(shared, dk + a.d_nope, a.d_rope, first);
      shared += a.d_rope;
      if (a.shares_k()) {
        put_partial(shared, dk, a.d_nope, first);
        shared += a.d_nope;
      } else {
        write_row(row_of<T>(b.dk_nope, row) + head * a.k_head_stride, dk, a.d_nope, 1.0f);
      }
      if (a.shares_v())
        put_partial(shared, dv, a.d_v, first);
      else
        write_row(row_of<T>(b.dv, row) + head * a.v_head_stride, dv, a.d_v, 1.0f);
    }
  }

  void run() const {
    for (int64_t head = task.head; head < task.head + task.n_heads; ++head) {
      prefetch_tile<T>(a, s, head, 0);
      pack_head(head);
      for (int64_t tile = 0; tile < s.n_k; tile += kTile) {
        pack_tile(head, tile);
        prefetch_tile<T>(a, s, head, tile + kTile);
        const int64_t first = tile > first_position() ? tile - first_position() : 0;
        for (int64_t block = first; block < rows(); block += kTile) visit_block(block, tile);
        write_tile(head, tile);
      }
      for (int64_t i = 0; i < s.n_q; ++i) {
        write_row(row_of<T>(b.dq, s.q_begin + i) + head * a.d_qk(), x.dq + (lead() + i) * w.ld_qk_cols, a.d_qk(), 1.0f);
      }
    }
  }
};

// Sums of the groups' partials in order, for one key.
template <class T>
struct SharedSum {
  const AttentionBackward& b;
  const float* partials;
  int64_t n_keys = 0;

  void columns(T* to, int64_t key, int64_t column, int64_t n) const {
    const Attention& a = b.forward;
    const int64_t width = attention_shared_columns(a), groups = attention_head_groups(a);
    const float* from = partials + key * width + column;
    for (int64_t c = 0; c < n; c += kW) {
      const int64_t part = n - c < kW ? n - c : kW;
      V sum = load_n(from + c, part);
      for (int64_t g = 1; g < groups; ++g) sum = add(sum, load_n(from + g * n_keys * width + c, part));
      store_n(to + c, sum, part);
    }
  }
  void key(int64_t row, int64_t key) const {
    const Attention& a = b.forward;
    columns(row_of<T>(b.dk_rope, row), key, 0, a.d_rope);
    if (a.shares_k()) columns(row_of<T>(b.dk_nope, row), key, a.d_rope, a.d_nope);
    if (a.shares_v()) columns(row_of<T>(b.dv, row), key, a.d_rope + (a.shares_k() ? a.d_nope : 0), a.d_v);
  }
};

int64_t keys_before(const Attention& a, int64_t segment) {
  int64_t n = 0;
  for (int64_t s = 0; s < segment; ++s) n += a.segments[s].n_k;
  return n;
}

template <class U, class T>
void backward(const AttentionBackward& b) {
  const Attention& a = b.forward;
  const AttentionWidths w = attention_widths(a, U::kPer == 2);
  const int64_t groups = attention_head_groups(a), n_keys = keys_before(a, a.n_segments);
  const AttentionPlan plan(b, Isa::HADAL_ISA);
  a.lane->parallel_for(plan.n_tasks, [&](int64_t i, int worker) {
    const AttentionTask& task = plan.tasks[i];
    const Segment& s = a.segments[task.segment];
    AttentionSpace space{reinterpret_cast<float*>(plan.workers + worker * plan.worker_bytes), 0};
    const AttentionBackwardSpace x = attention_backward_space(space, w, attention_buffer_rows(s));
    const int64_t group = ((task.head + 1) * groups - 1) / a.n_heads;
    BackwardTask<U, T>{b, a, task, s, keys_before(a, task.segment), group, n_keys, plan.partials, w, x}.run();
  });
  if (attention_shared_columns(a) == 0) return;
  const SharedSum<T> sum{b, plan.partials, n_keys};
  constexpr int64_t kBlock = 32;
  a.lane->parallel_for((n_keys + kBlock - 1) / kBlock, [&](int64_t block, int) {
    int64_t segment = 0, before = 0;
    for (int64_t key = block * kBlock; key < n_keys && key < (block + 1) * kBlock; ++key) {
      while (key - before >= a.segments[segment].n_k) before += a.segments[segment++].n_k;
      sum.key(a.segments[segment].k_begin + key - before, key);
    }
  });
}

}  // namespace

void attention_backward(const AttentionBackward& b) {
#if defined(HADAL_ISA_avx512_bf16)
  using Words = WordPairs;
#else
  using Words = Singles;
#endif
  if (b.forward.q.dtype == DType::bf16)
    backward<Words, bf16>(b);
  else if (b.forward.q.dtype == DType::f16)
    backward<Singles, f16>(b);
  else
    backward<Singles, float>(b);
}

}  // namespace hadal::kernels::HADAL_ISA
