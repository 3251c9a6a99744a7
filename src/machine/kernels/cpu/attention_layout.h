// Where the vector kernels of attention keep what they pack, in 32-bit words. A word is one float, or a pair of bf16
// (two neighbours along the dimension that a product sums over) where the instruction set multiplies pairs. Shared by
// the plan, which sizes the workspace, and the kernels; everything has internal linkage (dispatch.h).
#pragma once
#include "kernels/attention.h"

namespace hadal::kernels {

static inline int64_t attention_round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Words between packed rows: whole vectors, and never a multiple of 256 bytes, so that rows spread over the cache's
// sets.
static inline int64_t attention_lead(int64_t words) {
  const int64_t whole = attention_round_up(words, 16);
  return whole % 64 == 0 ? whole + 16 : whole;
}

// Few rows without a rotary key or codes: keys and values are read where they lie (attention_direct.h). A task takes
// several heads of keys then, since the heads of a row lie side by side in memory.
constexpr int64_t kDirectRows = 8, kDirectHeads = kAttentionTile / kDirectRows;
static inline bool attention_is_direct(const Attention& a, int64_t n_rows, bool pairs) {
  return n_rows <= kDirectRows && a.d_rope == 0 && !a.values_are_keys && !a.in_codes() && (!pairs || a.d_nope % 2 == 0);
}

// Hands out consecutive pieces; with a null base it only counts.
struct AttentionSpace {
  float* base = nullptr;
  int64_t used = 0;
};
static inline float* attention_take(AttentionSpace& space, int64_t words) {
  float* piece = space.base ? space.base + space.used : nullptr;
  space.used += attention_round_up(words, 16) + 16;  // a vector of slack: stores of ragged rows run over
  return piece;
}

struct AttentionWidths {
  int64_t per_word = 1;                   // elements per word of a summed dimension
  int64_t qk_words = 0, v_words = 0;      // of one row, summed over
  int64_t ld_qk = 0, ld_v = 0;            // rows of words
  int64_t ld_qk_cols = 0, ld_v_cols = 0;  // rows of columns (one word per column)
};
static inline AttentionWidths attention_widths(const Attention& a, bool pairs) {
  AttentionWidths w;
  w.per_word = pairs ? 2 : 1;
  w.qk_words = (a.d_nope + a.d_rope + w.per_word - 1) / w.per_word;
  w.v_words = (a.d_v + w.per_word - 1) / w.per_word;
  w.ld_qk = attention_lead(w.qk_words), w.ld_v = attention_lead(w.v_words);
  w.ld_qk_cols = attention_lead(a.d_nope + a.d_rope), w.ld_v_cols = attention_lead(a.d_v);
  return w;
}

struct AttentionForwardSpace {
  float *q, *o, *m, *l;  // [rows] of: words, columns, 1, 16 lanes
  float* stage;          // [tile] rows of words: keys, values
  float *kt, *v;         // keys transposed [words][tile]; values [tile / per_word] rows of columns
  float *s, *p, *alpha;  // [tile rows][tile]: scores; probabilities as words; the factor of each row
};
static inline AttentionForwardSpace attention_forward_space(AttentionSpace& space, const AttentionWidths& w,
                                                            int64_t rows) {
  const int64_t tile = kAttentionTile;
  rows = attention_round_up(rows, tile);
  AttentionForwardSpace f;
  f.q = attention_take(space, rows * w.ld_qk);
  f.o = attention_take(space, rows * w.ld_v_cols);
  f.m = attention_take(space, rows);
  f.l = attention_take(space, rows * 16);
  f.stage = attention_take(space, tile * (w.ld_qk > w.ld_v ? w.ld_qk : w.ld_v));
  f.kt = attention_take(space, attention_round_up(w.qk_words, 16) * tile);
  f.v = attention_take(space, tile / w.per_word * w.ld_v_cols);
  f.s = attention_take(space, tile * tile);
  f.p = w.per_word == 1 ? f.s : attention_take(space, tile * tile / w.per_word);
  f.alpha = attention_take(space, tile);
  return f;
}

// Threads that share a task keep of each tile of keys the scores of so many rows, and a row of alphas.
static inline int64_t attention_together_rows(int64_t n_rows) { return attention_round_up(n_rows, 16); }
static inline int64_t attention_together_words(int64_t n_rows, int64_t n_keys) {
  return (n_keys + kAttentionTile - 1) / kAttentionTile * (attention_together_rows(n_rows) + 1) * kAttentionTile + 16;
}

// rows: query positions from a tile border on, whole tiles.
struct AttentionBackwardSpace {
  float *q, *d_o;               // [rows] of words
  float *q_cols, *do_cols;      // [rows / per_word] of columns (f32: the same as q and d_o)
  float *dq, *lse, *delta;      // [rows] of columns, 1, 1
  float *stage, *kt, *vt;       // as in forward; values transposed
  float* k_cols;                // [tile / per_word] of columns (f32: the staged keys)
  float *dk, *dv;               // [tile] of columns
  float *s, *dp;                // [tile][tile]: scores, then probabilities; then ds
  float *p_across, *ds_across;  // [tile / per_word][tile]: words paired over queries (f32: s and dp)
  float* ds_words;              // [tile][tile / per_word] (f32: dp)
};
static inline AttentionBackwardSpace attention_backward_space(AttentionSpace& space, const AttentionWidths& w,
                                                              int64_t rows) {
  const int64_t tile = kAttentionTile, per = w.per_word;
  const bool pairs = per > 1;
  AttentionBackwardSpace b;
  b.q = attention_take(space, rows * w.ld_qk);
  b.d_o = attention_take(space, rows * w.ld_v);
  b.q_cols = pairs ? attention_take(space, rows / per * w.ld_qk_cols) : b.q;
  b.do_cols = pairs ? attention_take(space, rows / per * w.ld_v_cols) : b.d_o;
  b.dq = attention_take(space, rows * w.ld_qk_cols);
  b.lse = attention_take(space, rows);
  b.delta = attention_take(space, rows);
  b.stage = attention_take(space, tile * (w.ld_qk > w.ld_v ? w.ld_qk : w.ld_v));
  b.kt = attention_take(space, attention_round_up(w.qk_words, 16) * tile);
  b.vt = attention_take(space, attention_round_up(w.v_words, 16) * tile);
  b.k_cols = attention_take(space, tile / per * w.ld_qk_cols);
  b.dk = attention_take(space, tile * w.ld_qk_cols);
  b.dv = attention_take(space, tile * w.ld_v_cols);
  b.s = attention_take(space, tile * tile);
  b.dp = attention_take(space, tile * tile);
  b.p_across = pairs ? attention_take(space, tile * tile / per) : b.s;
  b.ds_across = pairs ? attention_take(space, tile * tile / per) : b.dp;
  b.ds_words = pairs ? attention_take(space, tile * tile / per) : b.dp;
  return b;
}

// Backward: rows of a segment's query buffers, which begin at the tile border at or before the first query.
static inline int64_t attention_lead_rows(const Segment& s) { return (s.n_k - s.n_q) % kAttentionTile; }
static inline int64_t attention_buffer_rows(const Segment& s) {
  return attention_round_up(attention_lead_rows(s) + s.n_q, kAttentionTile);
}

}  // namespace hadal::kernels
