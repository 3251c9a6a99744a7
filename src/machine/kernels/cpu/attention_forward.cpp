// Attention forward. A task holds its queries and outputs packed and walks over the key tiles of its segment once, in
// order: pack the tile's keys (transposed) and values, then for blocks of rows scores, online softmax, outputs. Inside
// a tile P V sums over keys ascending from zero; that sum is added to the output rescaled to the new maximum. With
// AVX512-BF16 and bf16 rows both products multiply bf16 pairs, so probabilities are rounded to bf16 for P V; their sum
// is not.
// Where there are fewer tasks than threads (a few texts far into their context) threads share a task instead: scores
// tile by tile, then the softmax over all tiles, then outputs by columns, each in the same order as above.
#include "kernels/attention.h"
#include "kernels/cpu/attention_direct.h"
#include "kernels/cpu/attention_few.h"
#include "kernels/cpu/attention_plan.h"

#include <math.h>

namespace hadal::kernels::HADAL_ISA {
namespace {

constexpr float kLog2e = 1.44269504088896341f, kLn2 = 0.693147180559945309f;
constexpr int64_t kVectors = kTile / kW;

// m = max(m, largest score) and alpha = what m fell by, in powers of two, for rows that see something of the tile.
void find_maxima(const AttentionForwardSpace& f, float* m, const Causal& causal, int64_t begin, int64_t end,
                 float factor) {
  const V lowest = broadcast(-__builtin_inff());
  for (int64_t row = begin; row < end; ++row) {
    const float* s = f.s + row * kTile;
    const int64_t limit = causal.limit(row);
    V largest = lowest;
    if (limit == kTile) {
#pragma GCC unroll 8
      for (int64_t v = 0; v < kVectors; ++v) largest = max(largest, load(s + v * kW));
    } else {
      for (int64_t v = 0; v * kW < limit; ++v) {
        const int64_t n = limit - v * kW < kW ? limit - v * kW : kW;
        largest = max(largest, select(first_n(n), load(s + v * kW), lowest));
      }
    }
    const float found = reduce_max(largest) * factor, before = m[row];
    m[row] = found > before ? found : before;
    f.alpha[row] = before - m[row];
  }
}

// Stores kPer vectors of probabilities, from key v * kW on, as words.
template <class U>
HADAL_INLINE void put_probabilities(float* to, int64_t v, const V* p) {
  if constexpr (U::kPer == 1) {
    store(to + v * kW, p[0]);
  } else {
    bf16* elements = reinterpret_cast<bf16*>(to) + v * kW;
    store(elements, p[0]);
    store(elements + kW, p[1]);
  }
}

// Scores of a row become probabilities relative to its maximum, and their sum joins l. kWhole: the row sees the whole
// tile.
template <class U, bool kWhole>
HADAL_INLINE void exponentiate(const AttentionForwardSpace& f, float m, float* l, int64_t row, int64_t limit,
                               float factor) {
  const float* s = f.s + row * kTile;
  float* to = f.p + row * (kTile / U::kPer);
  const V scale = broadcast(factor), offset = broadcast(-m);
  V p[kVectors];
#pragma GCC unroll 8
  for (int64_t v = 0; v < kVectors; ++v) {
    const int64_t left = limit - v * kW;
    if (!kWhole && left <= 0) {
      p[v] = zero();
      continue;
    }
    p[v] = power_of_two(fma(load(s + v * kW), scale, offset));
    if (!kWhole && left < kW) p[v] = select(first_n(left), p[v], zero());
  }
#pragma GCC unroll 8
  for (int64_t v = 0; v < kVectors; v += U::kPer) put_probabilities<U>(to, v, p + v);
  V even = p[0], odd = p[1];
#pragma GCC unroll 8
  for (int64_t v = 2; v < kVectors; v += 2) even = add(even, p[v]), odd = add(odd, p[v + 1]);
  store(l + row * kW, fma(load(l + row * kW), broadcast(f.alpha[row]), add(even, odd)));
}

// Rows begin .. end of a block; those before begin see nothing, those from end on do not exist.
template <class U>
void softmax_tile(const AttentionForwardSpace& f, float* m, float* l, const Causal& causal, int64_t begin, int64_t end,
                  float factor) {
  find_maxima(f, m, causal, begin, end, factor);
  for (int64_t row = begin / kW * kW; row < end; row += kW) store(f.alpha + row, power_of_two(load(f.alpha + row)));
  for (int64_t row = begin; row < end; ++row) {
    const int64_t limit = causal.limit(row);
    if (limit == kTile)
      exponentiate<U, true>(f, m[row], l, row, limit, factor);
    else
      exponentiate<U, false>(f, m[row], l, row, limit, factor);
  }
  for (int64_t row = begin / kRows * kRows; row < begin; ++row) f.alpha[row] = -1;
  for (int64_t row = end; row % kRows != 0; ++row) f.alpha[row] = -1;
}

template <class U, class T>
struct ForwardTask {
  const Attention& a;
  AttentionTask task;
  const Segment& s;
  AttentionWidths w;
  AttentionForwardSpace f;

  // Division is slow beside a short row, and heads that share nothing need none.
  int64_t query_of(int64_t row) const { return task.n_heads == 1 ? row : row / task.n_heads; }
  int64_t position(int64_t row) const { return s.n_k - s.n_q + query_of(task.first_row + row); }
  int64_t query(int64_t row) const { return s.q_begin + query_of(task.first_row + row); }
  int64_t head(int64_t row) const {
    return task.n_heads == 1 ? task.head : task.head + (task.first_row + row) % task.n_heads;
  }

  int64_t key_head() const { return task.head / a.group; }
  // Few rows, as decoding has them: keys and values are read where they lie, or at least keys not transposed.
  bool direct() const { return attention_is_direct(a, task.n_rows, U::kPer == 2); }
  bool few() const { return task.n_rows <= kFewRows && !direct(); }

  void pack_queries() const {
    for (int64_t row = 0; row < task.n_rows; ++row) {
      const T* q = row_of<const T>(a.q, query(row)) + head(row) * a.d_qk();
      const int64_t ahead = row + kRowsAhead < task.n_rows ? row + kRowsAhead : row;
      prefetch_row(row_of<const T>(a.q, query(ahead)) + head(ahead) * a.d_qk(), a.d_qk());
      put_row<U>(f.q + row * w.ld_qk, q, a.d_qk(), q, 0);
      f.m[row] = -__builtin_inff();
    }
    const int64_t whole = attention_round_up(task.n_rows, few() ? kFewRows : kDirectRows);
    clear_rows(f.q + task.n_rows * w.ld_qk, whole - task.n_rows, w.ld_qk);
    clear_rows(f.o, whole, w.ld_v_cols);
    clear_rows(f.l, task.n_rows, kW);
    if (few()) transpose_queries(f.kt, f.q, w.ld_qk, w.qk_words);
  }

  // With few rows the keys stay staged, and f.kt holds the queries. Values that are the first part of the keys (the
  // absorbed form) are not staged again.
  void pack_tile(int64_t tile_begin) const {
    if (!a.values_are_keys) pack_values(tile_begin);
    stage_keys<U, T>(f.stage, w.ld_qk, a, s, key_head(), tile_begin);
    if (!few()) transpose_tile(f.kt, f.stage, w.ld_qk, w.qk_words);
#if defined(HADAL_ISA_avx512_bf16)
    if constexpr (U::kPer == 2) {
      if (a.values_are_keys) pair_rows(f.v, w.ld_v_cols, f.stage, w.ld_qk, kTile, a.d_v);
    }
#endif
  }
  void pack_values(int64_t tile_begin) const {
    if constexpr (U::kPer == 1) {
      stage_values<U, T>(f.v, w.ld_v_cols, a, s, key_head(), tile_begin);
    } else {
#if defined(HADAL_ISA_avx512_bf16)
      stage_values<U, T>(f.stage, w.ld_v, a, s, key_head(), tile_begin);
      pair_rows(f.v, w.ld_v_cols, f.stage, w.ld_v, kTile, a.d_v);
#endif
    }
  }

  // Up to kTile rows with a tile of keys: those of begin .. n_rows see something of it.
  struct Visit {
    Causal causal;
    int64_t first_row, n_rows, begin = 0;
    bool sees() const { return begin < n_rows; }
    int64_t first() const { return begin / kRows * kRows; }
    int64_t whole() const { return attention_round_up(n_rows, kRows); }
  };
  Visit visit(int64_t first_row, int64_t tile_begin) const {
    Visit v{{s.n_k - s.n_q - tile_begin + 1, task.first_row + first_row, task.n_heads},
            first_row,
            task.n_rows - first_row < kTile ? task.n_rows - first_row : kTile};
    while (v.sees() && v.causal.limit(v.begin) == 0) ++v.begin;
    return v;
  }
  // `to` [kTile][kTile], or [kFewRows][kTile] with `room` for as many.
  void score(const Visit& v, int64_t tile_begin, float* to, float* room) const {
    if (few()) {
      score_few<U, T>({to, room, f.kt, f.stage, w.ld_qk, w.qk_words}, a, s, key_head(), tile_begin + kTile);
    } else {
      score_tile<U>({f.q + v.first_row * w.ld_qk, w.ld_qk, f.kt, kTile, to, kTile}, v.causal, v.first(), v.whole(),
                    w.qk_words);
    }
  }
  void soften(const Visit& v, float factor) const {
    softmax_tile<U>(f, f.m + v.first_row, f.l + v.first_row * kW, v.causal, v.begin, v.n_rows, factor);
  }
  // The columns of o from `col` on, by those of the values that lie at b.
  void apply(const Visit& v, const float* b, int64_t ld_b, int64_t col, int64_t cols) const {
    apply_tile<U, Into::rescale>(
        {f.p, kTile / U::kPer, b, ld_b, f.o + v.first_row * w.ld_v_cols + col, w.ld_v_cols, f.alpha}, v.causal,
        v.first(), v.whole(), cols);
  }

  void visit_block(int64_t first_row, int64_t tile_begin, float factor) const {
    const Visit v = visit(first_row, tile_begin);
    if (!v.sees()) return;
    score(v, tile_begin, f.s, f.s + kFewRows * kTile);
    soften(v, factor);
    const bool in_stage = U::kPer == 1 && a.values_are_keys;
    apply(v, in_stage ? f.stage : f.v, in_stage ? w.ld_qk : w.ld_v_cols, 0, a.d_v);
  }

  // The same rows of the heads that read the i-th head of keys after this one.
  ForwardTask later(int64_t i) const {
    ForwardTask x = *this;
    x.task.head += i * task.n_heads;
    const int64_t row = i * kDirectRows;
    x.f.q += row * w.ld_qk, x.f.o += row * w.ld_v_cols, x.f.m += row, x.f.l += row * kW;
    return x;
  }

  void run_directly(float factor) const {
    for (int64_t i = 0; i < task.times; ++i) later(i).pack_queries();
    for (int64_t tile = 0; tile <= position(task.n_rows - 1); tile += kTile)
      for (int64_t i = 0; i < task.times; ++i) later(i).visit_directly(tile, factor);
    for (int64_t i = 0; i < task.times; ++i) later(i).write();
  }

  void visit_directly(int64_t tile_begin, float factor) const {
    const Visit v = visit(0, tile_begin);
    if (!v.sees()) return;
    const auto keys = direct_tile<T>(a.k_nope, key_head() * a.k_head_stride, a, s, tile_begin);
    const auto values = direct_tile<T>(a.v, key_head() * a.v_head_stride, a, s, tile_begin);
    with_direct_rows(task.n_rows, [&]<int R>() { score_direct<U, T, R>(f.s, keys, f.q, w.ld_qk, w.qk_words); });
    soften(v, factor);
    const int64_t seen = (v.causal.limit(v.n_rows - 1) + U::kPer - 1) / U::kPer;
    const DirectOutputs outputs{f.p, f.o, w.ld_v_cols, f.alpha, v.begin, v.n_rows, seen};
    with_direct_rows(task.n_rows, [&]<int R>() { apply_direct<U, T, R>(outputs, values, a.d_v); });
  }

  void write() const {
    for (int64_t row = 0; row < task.n_rows; ++row) {
      const float sum = reduce_add(load(f.l + row * kW));
      write_row(row_of<T>(a.o, query(row)) + head(row) * a.d_v, f.o + row * w.ld_v_cols, a.d_v, 1.0f / sum);
      row_of<float>(a.lse, query(row))[head(row)] = f.m[row] * kLn2 + log_scalar(sum);
    }
  }

  void run() const {
    const float factor = float(a.scale) * kLog2e;
    if (direct()) return run_directly(factor);
    prefetch_tile<T>(a, s, key_head(), 0);
    pack_queries();
    for (int64_t tile = 0; tile <= position(task.n_rows - 1); tile += kTile) {
      pack_tile(tile);
      if (!few() || !a.values_are_keys) prefetch_tile<T>(a, s, key_head(), tile + kTile);
      for (int64_t row = 0; row < task.n_rows; row += kTile) visit_block(row, tile, factor);
    }
    write();
  }
};

// A task of at most kTile rows, by all threads; f_of(worker) is a thread's workspace. Scores of all tiles lie in the
// plan's partials: of each tile its rows, then what softmax makes of the rows' maxima.
template <class U, class T, class Space>
void run_together(const Attention& a, const AttentionTask& task, const AttentionWidths& w, float* scores, Space f_of) {
  const ForwardTask<U, T> all{a, task, a.segments[task.segment], w, f_of(0)};
  const float factor = float(a.scale) * kLog2e;
  const int64_t rows = attention_together_rows(task.n_rows), tiles = all.position(task.n_rows - 1) / kTile + 1;
  const auto scores_of = [&](int64_t tile) { return scores + tile * (rows + 1) * kTile; };
  all.pack_queries();
  a.lane->parallel_for(tiles, [&](int64_t tile, int worker) {
    ForwardTask<U, T> one{a, task, all.s, w, f_of(worker)};
    one.f.q = all.f.q;
    if (one.few()) one.f.kt = all.f.kt;
    one.pack_tile(tile * kTile);
    const auto v = one.visit(0, tile * kTile);
    if (v.sees()) one.score(v, tile * kTile, scores_of(tile), one.f.s);
  });
  const auto at_tile = [&](int64_t tile) {
    ForwardTask<U, T> one = all;
    one.f.s = one.f.p = scores_of(tile), one.f.alpha = scores_of(tile) + rows * kTile;
    return one;
  };
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const ForwardTask<U, T> one = at_tile(tile);
    if (const auto v = one.visit(0, tile * kTile); v.sees()) one.soften(v, factor);
  }
  const int64_t width = a.d_v < kAttentionChunk ? a.d_v : kAttentionChunk, ld = attention_lead(width);
  a.lane->parallel_for((a.d_v + width - 1) / width, [&](int64_t i, int worker) {
    const int64_t col = i * width, cols = a.d_v - col < width ? a.d_v - col : width;
    float* const values = f_of(worker).stage;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const ForwardTask<U, T> one = at_tile(tile);
      const auto v = one.visit(0, tile * kTile);
      if (!v.sees()) continue;
      stage_key_columns<T>(values, ld, a, one.s, tile * kTile, col, cols);
      one.apply(v, values, ld, col, cols);
    }
  });
  all.write();
}

template <class U, class T>
void forward(const Attention& a) {
  const AttentionWidths w = attention_widths(a, U::kPer == 2);
  const AttentionPlan plan(a, Isa::HADAL_ISA);
  const auto space_of = [&](int worker, int64_t rows) {
    AttentionSpace space{reinterpret_cast<float*>(plan.workers + worker * plan.worker_bytes), 0};
    return attention_forward_space(space, w, rows);
  };
  if constexpr (U::kPer == 1) {
    if (plan.together) {
      for (int64_t i = 0; i < plan.n_tasks; ++i)
        run_together<U, T>(a, plan.tasks[i], w, plan.partials,
                           [&](int worker) { return space_of(worker, plan.tasks[i].n_rows); });
      return;
    }
  }
  a.lane->parallel_for(plan.n_tasks, [&](int64_t i, int worker) {
    const AttentionTask& task = plan.tasks[i];
    ForwardTask<U, T>{a, task, a.segments[task.segment], w, space_of(worker, task.n_rows)}.run();
  });
}

}  // namespace

void attention_forward(const Attention& a) {
#if defined(HADAL_ISA_avx512_bf16)
  using Words = WordPairs;
#else
  using Words = Singles;
#endif
  if (a.q.dtype == DType::bf16)
    forward<Words, bf16>(a);
  else if (a.q.dtype == DType::f16)
    forward<Singles, f16>(a);
  else
    forward<Singles, float>(a);
}

}  // namespace hadal::kernels::HADAL_ISA
