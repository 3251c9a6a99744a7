// Scores of at most kFewRows rows with a tile of keys, as decoding has them: one query of every head that shares the
// keys. Transposing the keys would cost as much as the products; here the few queries are transposed instead, once, a
// vector holds one word of all rows, and the keys are read as they lie. The sums are those of score_tile: one
// multiply-add per word, ascending, in chunks of kAttentionChunk elements.
#pragma once
#include "kernels/cpu/attention_tile.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

constexpr int64_t kFewRows = 16, kFewVectors = kFewRows / kW;
#if defined(HADAL_ISA_avx2)
constexpr int64_t kFewKeys = 4;  // 4 x 2 sums, 2 of queries, 1 of keys
#else
constexpr int64_t kFewKeys = 16;
#endif

// Rows of keys of the next tile, asked for a few lines at a time: all at once they would not overlap with anything.
struct NextKeys {
  const char* row = nullptr;
  int64_t stride = 0, bytes = 0, left = 0;
  void ask() {
    if (left <= 0) return;
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(row + i, 0, 2);
    row += stride, --left;
  }
};

// Elements begin .. of at most one chunk of keys first .. of a segment.
template <class T>
NextKeys next_keys(const Attention& a, const Segment& s, int64_t head, int64_t first, int64_t begin) {
  const int64_t left = s.n_k - first < kFewKeys ? s.n_k - first : kFewKeys;
  const bool nope = begin < a.d_nope;
  const Rows& rows = nope ? a.k_nope : a.k_rope;
  const int64_t from = nope ? begin + head * a.k_head_stride : begin - a.d_nope;
  int64_t n = nope ? a.d_nope - begin : a.d_qk() - begin;
  n = n < kAttentionChunk ? n : kAttentionChunk;
  if (left <= 0) return {};
  const int64_t bytes = !a.in_codes() ? int64_t(sizeof(T)) : nope ? 1 : int64_t(sizeof(bf16));  // of an element
  const int64_t at = a.key_row(s, first) * rows.stride + from;
  return {static_cast<const char*>(rows.data) + at * bytes, rows.stride * bytes, n * bytes, left};
}

// qt[word][kFewRows] from rows of words; rows that do not exist are zero.
inline void transpose_queries(float* qt, const float* q, int64_t ld, int64_t words) {
  for (int64_t word = 0; word < words; word += kW) {
    for (int64_t row = 0; row < kFewRows; row += kW)
      transpose_block(qt + word * kFewRows + row, kFewRows, q + row * ld + word, ld);
  }
}

// st[key][kFewRows] (+)= words begin .. end of kFewKeys keys.
template <class U, bool kAdd>
__attribute__((noinline)) void few_block(float* st, const float* keys, int64_t ld, const float* qt, int64_t words,
                                         NextKeys next) {
  V acc[kFewKeys][kFewVectors];
#pragma GCC unroll 16
  for (int key = 0; key < kFewKeys; ++key) {
#pragma GCC unroll 2
    for (int v = 0; v < kFewVectors; ++v) acc[key][v] = zero();
  }
  // Four keys to a pointer, the others in the instruction: sixteen pointers find no registers.
  constexpr int kPointers = kFewKeys / 4;
  const float* four[kPointers];
#pragma GCC unroll 4
  for (int i = 0; i < kPointers; ++i) four[i] = keys + 4 * i * ld;
  int64_t word = 0;
  for (int64_t part = 1; part <= kFewKeys; ++part) {
    next.ask();
    for (const int64_t end = words * part / kFewKeys; word < end; ++word, qt += kFewRows) {
      V q[kFewVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kFewVectors; ++v) q[v] = load(qt + v * kW);
#pragma GCC unroll 4
      for (int i = 0; i < kPointers; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          const V k = broadcast(four[i][j * ld]);
#pragma GCC unroll 2
          for (int v = 0; v < kFewVectors; ++v) acc[4 * i + j][v] = U::multiply_add(k, q[v], acc[4 * i + j][v]);
        }
        ++four[i];
        asm("" : "+r"(four[i]));  // or the compiler makes a pointer of each key again
      }
    }
  }
#pragma GCC unroll 16
  for (int key = 0; key < kFewKeys; ++key) {
#pragma GCC unroll 2
    for (int v = 0; v < kFewVectors; ++v) {
      float* to = st + key * kFewRows + v * kW;
      store(to, kAdd ? add(load(to), acc[key][v]) : acc[key][v]);
    }
  }
}

struct FewScores {
  float* s;         // [kFewRows][kTile]: the scores
  float* st;        // [kTile][kFewRows]: room
  const float* qt;  // [words][kFewRows]
  const float* keys;
  int64_t ld, words;
};

template <class U, class T>
void score_few(const FewScores& x, const Attention& a, const Segment& s, int64_t head, int64_t next_tile) {
  constexpr int64_t chunk = kAttentionChunk / U::kPer;
  for (int64_t begin = 0; begin < x.words; begin += chunk) {
    const int64_t n = x.words - begin < chunk ? x.words - begin : chunk;
    for (int64_t key = 0; key < kTile; key += kFewKeys) {
      const NextKeys next = next_keys<T>(a, s, head, next_tile + key, begin * U::kPer);
      const float* keys = x.keys + key * x.ld + begin;
      if (begin == 0)
        few_block<U, false>(x.st + key * kFewRows, keys, x.ld, x.qt, n, next);
      else
        few_block<U, true>(x.st + key * kFewRows, keys, x.ld, x.qt + begin * kFewRows, n, next);
    }
  }
  for (int64_t key = 0; key < kTile; key += kW) {
    for (int64_t row = 0; row < kFewRows; row += kW)
      transpose_block(x.s + row * kTile + key, kTile, x.st + key * kFewRows + row, kFewRows);
  }
}

}  // namespace
}  // namespace hadal::kernels::HADAL_ISA
