// Products of at most kDirectRows rows with a tile of keys and values that are read where they lie: nothing is staged,
// as a tile meets a few rows once (decoding, of heads that have keys of their own or share them in small groups). Sums
// are those of score_tile and apply_tile: one multiply-add per word, ascending, in chunks; keys ascending from zero.
#pragma once
#include "kernels/cpu/attention_tile.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

// Rows of a tile of one head: n of them, stride elements apart; those of the next tile (null: none), to be asked for
// bit by bit while this one is computed with.
template <class T>
struct DirectTile {
  const T* rows = nullptr;
  const T* next = nullptr;
  int64_t stride = 0, n = 0;
  // From `at`, where every other vector begins no line for elements of half the size.
  __attribute__((always_inline)) void ask(int64_t row, int64_t at) const {
    if (next && at * int64_t(sizeof(T)) % 64 == 0) __builtin_prefetch(next + row * stride + at, 0, 2);
  }
};
template <class T>
DirectTile<T> direct_tile(const Rows& of, int64_t first_element, const Attention& a, const Segment& s,
                          int64_t tile_begin) {
  const auto at = [&](int64_t key) {
    return static_cast<const T*>(of.data) + a.key_row(s, key) * of.stride + first_element;
  };
  const int64_t left = s.n_k - tile_begin, after = tile_begin + kTile;
  return {at(tile_begin), after + kTile <= s.n_k ? at(after) : nullptr, of.stride, left < kTile ? left : kTile};
}

// Words of `x` from number `word` on; beyond n they are 0.
template <class U, class T>
HADAL_INLINE V words_at(const T* x, int64_t word, int64_t n) {
  if constexpr (U::kPer == 1) {
    return n >= kW ? load(x + word) : load_n(x + word, n);
#if defined(HADAL_ISA_avx512_bf16)
  } else {
    return n >= kW ? load_words(x + 2 * word) : load_words_n(x + 2 * word, 2 * n);
#endif
  }
}

// acc[row] += words word .. word + n of q[row] times those of kW keys. A partial vector's last word may be half a pair
// whose other half is the caller's to exclude: heads of an odd size are not read directly as pairs.
template <class U, class T, int R, bool kWhole>
HADAL_INLINE void score_words(V (&acc)[R], const DirectTile<T>& keys, int64_t first_key, const float* q, int64_t ld_q,
                              int64_t word, int64_t n) {
  V k[kW];
#pragma GCC unroll 16
  for (int j = 0; j < kW; ++j) {
    const int64_t key = first_key + j, row = key < keys.n ? key : keys.n - 1;  // scores of missing keys are not used
    k[j] = words_at<U>(keys.rows + row * keys.stride, word, kWhole ? kW : n);
    keys.ask(key, word * U::kPer);
  }
  transpose(k);
#pragma GCC unroll 16
  for (int i = 0; i < kW; ++i) {
    if (!kWhole && i >= n) break;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) acc[r] = U::multiply_add(k[i], broadcast(q[r * ld_q + word + i]), acc[r]);
  }
}

// s[row][key] = q[row] . key for R rows and the tile's keys.
template <class U, class T, int R>
__attribute__((noinline)) void score_direct(float* s, const DirectTile<T>& keys, const float* q, int64_t ld_q,
                                            int64_t words) {
  constexpr int64_t chunk = kAttentionChunk / U::kPer;
  for (int64_t key = 0; key < keys.n; key += kW) {
    for (int64_t begin = 0; begin < words; begin += chunk) {
      const int64_t end = begin + chunk < words ? begin + chunk : words;
      V acc[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) acc[r] = zero();
      int64_t word = begin;
      for (; word + kW <= end; word += kW) score_words<U, T, R, true>(acc, keys, key, q, ld_q, word, kW);
      if (word < end) score_words<U, T, R, false>(acc, keys, key, q, ld_q, word, end - word);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        float* to = s + r * kTile + key;
        store(to, begin == 0 ? acc[r] : add(load(to), acc[r]));
      }
    }
  }
}

// A vector of columns of word k of the values: of key k, or of keys 2k and 2k + 1 as pairs.
template <class U, class T>
HADAL_INLINE V values_at(const DirectTile<T>& values, int64_t k, int64_t col, int64_t n) {
  const T* x = values.rows + k * U::kPer * values.stride + col;
  if constexpr (U::kPer == 1) {
    return n >= kW ? load(x) : load_n(x, n);
#if defined(HADAL_ISA_avx512_bf16)
  } else {
    const T* odd = 2 * k + 1 < values.n ? x + values.stride : nullptr;
    return as_words(n >= kW && odd ? interleave(x, odd) : interleave_n(x, odd, n < kW ? n : kW));
#endif
  }
}

struct DirectOutputs {
  const float* p;  // [rows][kTile / per word]
  float* o;        // [rows], ld apart
  int64_t ld;
  const float* alpha;     // of each row
  int64_t begin, n_rows;  // rows that see something of the tile
  int64_t keys;           // words of keys that the last of them sees
};

// o[row] = alpha[row] o[row] + sum over keys of p[row][key] value[key], N vectors of columns from `col` on.
template <class U, class T, int R, int N>
HADAL_INLINE void apply_columns(const DirectOutputs& x, const DirectTile<T>& values, int64_t col, int64_t cols) {
  V acc[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) acc[r][v] = zero();
  }
  for (int64_t k = 0; k < x.keys; ++k) {
    V w[N];
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) {
      w[v] = values_at<U>(values, k, col + v * kW, cols - v * kW);
      for (int64_t i = 0; i < U::kPer; ++i) values.ask(k * U::kPer + i, col + v * kW);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const V p = broadcast(x.p[r * (kTile / U::kPer) + k]);
#pragma GCC unroll 8
      for (int v = 0; v < N; ++v) acc[r][v] = U::multiply_add(p, w[v], acc[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    if (r < x.begin || r >= x.n_rows) continue;
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) {
      float* to = x.o + r * x.ld + col + v * kW;
      store(to, fma(load(to), broadcast(x.alpha[r]), acc[r][v]));
    }
  }
}

template <class U, class T, int R>
__attribute__((noinline)) void apply_direct(const DirectOutputs& x, const DirectTile<T>& values, int64_t d_v) {
  constexpr int kMost = kW == 8 ? (R == 8 ? 1 : 8 / R) : (R == 8 ? 2 : R == 1 ? 8 : 16 / R);
  int64_t col = 0;
  for (; col + kMost * kW <= d_v; col += kMost * kW) apply_columns<U, T, R, kMost>(x, values, col, kMost * kW);
  for (; col < d_v; col += kW) apply_columns<U, T, R, 1>(x, values, col, d_v - col);
}

// Calls f with the least of 1, 2, 4 and 8 that n_rows fit in, as a constant.
template <class F>
HADAL_INLINE void with_direct_rows(int64_t n_rows, const F& f) {
  if (n_rows == 1)
    f.template operator()<1>();
  else if (n_rows == 2)
    f.template operator()<2>();
  else if (n_rows <= 4)
    f.template operator()<4>();
  else
    f.template operator()<8>();
}

}  // namespace
}  // namespace hadal::kernels::HADAL_ISA
