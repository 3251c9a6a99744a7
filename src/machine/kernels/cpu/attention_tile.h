// What attention's forward and backward share: products of packed tiles, and packing. See attention_layout.h for
// words.
#pragma once
#include "kernels/cpu/attention_layout.h"
#include "kernels/cpu/simd.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

constexpr int64_t kTile = kAttentionTile;
// A block of kRows x up to kCols vectors of results stays in registers; kTile is a multiple of kRows.
constexpr int kRows = kW == 8 ? 4 : 8, kCols = 3;

// Words: single floats, or pairs of bf16.
struct Singles {
  static constexpr int64_t kPer = 1;
  static __attribute__((always_inline)) V multiply_add(V a, V b, V c) { return fma(a, b, c); }
};
#if defined(HADAL_ISA_avx512_bf16)
struct WordPairs {
  static constexpr int64_t kPer = 2;
  static __attribute__((always_inline)) V multiply_add(V a, V b, V c) { return dot(c, as_pairs(a), as_pairs(b)); }
};
#endif

// Row r of a block of queries sees the tile's first limit(r) keys. Rows of one query's heads follow each other.
struct Causal {
  int64_t offset = 0;  // limit of row 0 when group is 1
  int64_t first = 0, group = 1;
  int64_t limit(int64_t row) const {
    const int64_t n = (group == 1 ? first + row : (first + row) / group) + offset;
    return n < 0 ? 0 : n > kTile ? kTile : n;
  }
};

enum class Into { store, add, rescale };

struct Product {  // c[m, n] = sum over k of a[m, k] b[k, n]
  const float* a = nullptr;
  int64_t lda = 0;  // between rows m, or between k when rows lie side by side (kAcross)
  const float* b = nullptr;
  int64_t ldb = 0;
  float* c = nullptr;
  int64_t ldc = 0;
  const float* alpha = nullptr;  // Into::rescale: c[m] = c[m] * alpha[m] + ...; rows of negative alpha are left alone
};

// kRows x N vectors of c, k from k_begin to k_end ascending.
template <class U, bool kAcross, Into kInto, int N>
__attribute__((noinline)) void block(const Product& p, int64_t k_begin, int64_t k_end) {
  V acc[kRows][N];
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) acc[m][n] = zero();
  }
  const float* a = p.a + k_begin * (kAcross ? p.lda : 1);
  const float* b = p.b + k_begin * p.ldb;
  for (int64_t k = k_begin; k < k_end; ++k) {
    V w[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) w[n] = load(b + n * kW);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const V x = broadcast(kAcross ? a[m] : a[m * p.lda]);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) acc[m][n] = U::multiply_add(x, w[n], acc[m][n]);
    }
    a += kAcross ? p.lda : 1;
    b += p.ldb;
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m) {
    float* c = p.c + m * p.ldc;
    if (kInto == Into::rescale && p.alpha[m] < 0) continue;
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      V x = acc[m][n];
      if (kInto == Into::add) x = add(load(c + n * kW), x);
      if (kInto == Into::rescale) x = fma(load(c + n * kW), broadcast(p.alpha[m]), x);
      store(c + n * kW, x);
    }
  }
}

template <class U, bool kAcross, Into kInto>
HADAL_INLINE void block_of(int64_t n, const Product& p, int64_t k_begin, int64_t k_end) {
  if (n == 1)
    block<U, kAcross, kInto, 1>(p, k_begin, k_end);
  else if (n == 2)
    block<U, kAcross, kInto, 2>(p, k_begin, k_end);
  else
    block<U, kAcross, kInto, kCols>(p, k_begin, k_end);
}

HADAL_INLINE int64_t panel_width(int64_t vectors_left) {
  return vectors_left == 4 ? 2 : vectors_left < kCols ? vectors_left : kCols;
}

// s[row, key] = sum over words of a[row] kt[word, key] for rows of [row_begin, row_end) (whole blocks) and the keys
// that each block of rows sees; words ascending in chunks of kAttentionChunk elements.
template <class U>
void score_tile(const Product& all, const Causal& causal, int64_t row_begin, int64_t row_end, int64_t words) {
  constexpr int64_t chunk = kAttentionChunk / U::kPer;
  for (int64_t begin = 0; begin < words; begin += chunk) {
    const int64_t end = begin + chunk < words ? begin + chunk : words;
    for (int64_t v = 0, n = 0; v < kTile / kW; v += n) {
      n = panel_width(kTile / kW - v);
      for (int64_t row = row_begin; row < row_end; row += kRows) {
        const int64_t seen = (causal.limit(row + kRows - 1) + kW - 1) / kW - v;
        if (seen <= 0) continue;
        const Product p{all.a + row * all.lda,          all.lda, all.b + v * kW, all.ldb,
                        all.c + row * all.ldc + v * kW, all.ldc};
        if (begin == 0)
          block_of<U, false, Into::store>(seen < n ? seen : n, p, begin, end);
        else
          block_of<U, false, Into::add>(seen < n ? seen : n, p, begin, end);
      }
    }
  }
}

// c[row, :] (rescaled or added to) += sum over the keys that row's block sees of a[row, key] b[key, :], keys ascending.
template <class U, Into kInto>
void apply_tile(const Product& all, const Causal& causal, int64_t row_begin, int64_t row_end, int64_t cols) {
  const int64_t vectors = (cols + kW - 1) / kW;
  for (int64_t v = 0, n = 0; v < vectors; v += n) {
    n = panel_width(vectors - v);
    for (int64_t row = row_begin; row < row_end; row += kRows) {
      const int64_t end = (causal.limit(row + kRows - 1) + U::kPer - 1) / U::kPer;
      const Product p{all.a + row * all.lda,
                      all.lda,
                      all.b + v * kW,
                      all.ldb,
                      all.c + row * all.ldc + v * kW,
                      all.ldc,
                      kInto == Into::rescale ? all.alpha + row : nullptr};
      if (end > 0) block_of<U, false, kInto>(n, p, 0, end);
    }
  }
}

// c[key, :] += sum over rows of the tile that see the key of a[row, key] b[row, :], rows ascending (one head: group 1).
template <class U>
void apply_across(const Product& all, const Causal& causal, int64_t cols) {
  const int64_t vectors = (cols + kW - 1) / kW;
  for (int64_t v = 0, n = 0; v < vectors; v += n) {
    n = panel_width(vectors - v);
    for (int64_t key = 0; key < kTile; key += kRows) {
      const int64_t first = key + 1 - causal.offset, begin = first > 0 ? first / U::kPer : 0;
      if (begin >= kTile / U::kPer) continue;
      const Product p{all.a + key, all.lda, all.b + v * kW, all.ldb, all.c + key * all.ldc + v * kW, all.ldc};
      block_of<U, true, Into::add>(n, p, begin, kTile / U::kPer);
    }
  }
}

// --- packing ---

template <class T>
HADAL_INLINE void put_piece(float* to, const T* from, int64_t n) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) store(to + i, load(from + i));
  if (i < n) store(to + i, load_n(from + i, n - i));
}
HADAL_INLINE void put_piece(bf16* to, const bf16* from, int64_t n) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) __builtin_memcpy(to + i, from + i, 2 * kW);
  if (i < n) store(to + i, load_n(from + i, n - i));
}

struct Codes {  // E4M3, kAttentionChunk of them to a scale
  const uint8_t* codes;
  const float* scales;
};
template <class T>
HADAL_INLINE void put_piece(T* to, Codes from, int64_t n) {
  static_assert(kAttentionChunk % kW == 0);
  for (int64_t i = 0; i < n; i += kW)
    store(to + i, mul(load_e4m3(from.codes + i, n - i), broadcast(from.scales[i / kAttentionChunk])));
}

// One row of words: [x | y | zeros to the end of the last vector]. Runs over into the next row, which must be written
// after.
template <class U, class X, class Y>
HADAL_INLINE void put_row(float* to, X x, int64_t nx, Y y, int64_t ny) {
  const int64_t words = (nx + ny + U::kPer - 1) / U::kPer;
  store(to + (words + kW - 1) / kW * kW - kW, zero());
  if constexpr (U::kPer == 1) {
    put_piece(to, x, nx);
    put_piece(to + nx, y, ny);
  } else {
    bf16* elements = reinterpret_cast<bf16*>(to);
    put_piece(elements, x, nx);
    put_piece(elements + nx, y, ny);
  }
}
HADAL_INLINE void clear_rows(float* to, int64_t n_rows, int64_t ld) {
  for (int64_t i = 0; i < n_rows * ld; i += kW) store(to + i, zero());
}

// to[word, row] = from[row, word] for a tile of rows.
HADAL_INLINE void transpose_tile(float* to, const float* from, int64_t ld, int64_t words) {
  for (int64_t word = 0; word < words; word += kW) {
    for (int64_t row = 0; row < kTile; row += kW)
      transpose_block(to + word * kTile + row, kTile, from + row * ld + word, ld);
  }
}

#if defined(HADAL_ISA_avx512_bf16)
// to[i, col] = the pair (from[2i, col], from[2i+1, col]); rows of `from` are words of neighbouring columns.
HADAL_INLINE void pair_rows(float* to, int64_t ld_to, const float* from, int64_t ld_from, int64_t n_rows,
                            int64_t cols) {
  for (int64_t row = 0; row < n_rows; row += 2) {
    const bf16* even = reinterpret_cast<const bf16*>(from + row * ld_from);
    const bf16* odd = reinterpret_cast<const bf16*>(from + (row + 1) * ld_from);
    for (int64_t c = 0; c < cols; c += kW) {
      store(to + row / 2 * ld_to + c, as_words(interleave(even + c, odd + c)));
    }
  }
}
#endif

// --- reading and writing rows of tensors ---

template <class T>
HADAL_INLINE T* row_of(const Rows& rows, int64_t row) {
  return static_cast<T*>(rows.data) + row * rows.stride;
}
// to[i] = from[i] * factor
template <class T>
HADAL_INLINE void write_row(T* to, const float* from, int64_t n, float factor) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) store(to + i, mul(load(from + i), broadcast(factor)));
  if (i < n) store_n(to + i, mul(load(from + i), broadcast(factor)), n - i);
}

// Stages rows of keys or values tile_begin .. of a segment, put(to, row of the tensor); missing ones are zero. Returns
// how many there are.
template <class Put>
HADAL_INLINE int64_t stage_rows(float* to, int64_t ld, const Attention& a, const Segment& s, int64_t tile_begin,
                                Put put) {
  const int64_t n = s.n_k - tile_begin < kTile ? s.n_k - tile_begin : kTile, first = a.key_row(s, tile_begin);
  for (int64_t j = 0; j < n; ++j) put(to + j * ld, first + j);
  clear_rows(to + n * ld, kTile - n, ld);
  return n;
}
// A row's codes from `col` on, a multiple of kAttentionChunk.
HADAL_INLINE Codes codes_of(const Attention& a, int64_t row, int64_t col = 0) {
  return {row_of<const uint8_t>(a.k_nope, row) + col, row_of<const float>(a.k_scales, row) + col / kAttentionChunk};
}
// Keys of a head, as rows of words.
template <class U, class T>
int64_t stage_keys(float* to, int64_t ld, const Attention& a, const Segment& s, int64_t head, int64_t tile_begin) {
  return stage_rows(to, ld, a, s, tile_begin, [&](float* at, int64_t row) {
    if (a.in_codes())
      put_row<U>(at, codes_of(a, row), a.d_nope, row_of<const bf16>(a.k_rope, row), a.d_rope);
    else
      put_row<U>(at, row_of<const T>(a.k_nope, row) + head * a.k_head_stride, a.d_nope, row_of<const T>(a.k_rope, row),
                 a.d_rope);
  });
}
// Of keys that are values too columns col .. col + cols; col is a multiple of kAttentionChunk.
template <class T>
void stage_key_columns(float* to, int64_t ld, const Attention& a, const Segment& s, int64_t tile_begin, int64_t col,
                       int64_t cols) {
  stage_rows(to, ld, a, s, tile_begin, [&](float* at, int64_t row) {
    const auto put = [&](auto from) { put_row<Singles>(at, from, cols, from, 0); };
    a.in_codes() ? put(codes_of(a, row, col)) : put(row_of<const T>(a.k_nope, row) + col);
  });
}
template <class U, class T>
void stage_values(float* to, int64_t ld, const Attention& a, const Segment& s, int64_t head, int64_t tile_begin) {
  stage_rows(to, ld, a, s, tile_begin, [&](float* at, int64_t row) {
    const T* v = row_of<const T>(a.v, row) + head * a.v_head_stride;
    put_row<U>(at, v, a.d_v, v, 0);
  });
}

// Rows of a head are short and far apart, which hardware does not foresee: small heads would spend a fifth of the time
// waiting.
constexpr int64_t kRowsAhead = 16;
template <class T>
HADAL_INLINE void prefetch_row(const T* row, int64_t n) {
  const char* at = reinterpret_cast<const char*>(row);
  const char* end = reinterpret_cast<const char*>(row + n);
  for (; at < end; at += 64) __builtin_prefetch(at);
}
// The tile's keys and values, to be asked for while the tile before it is computed with.
template <class T>
void prefetch_tile(const Attention& a, const Segment& s, int64_t head, int64_t tile_begin) {
  if (tile_begin >= s.n_k) return;
  const int64_t n = s.n_k - tile_begin < kTile ? s.n_k - tile_begin : kTile, first = a.key_row(s, tile_begin);
  for (int64_t j = 0; j < n; ++j) {
    if (a.in_codes()) {
      prefetch_row(row_of<const uint8_t>(a.k_nope, first + j), a.d_nope);
      continue;
    }
    prefetch_row(row_of<const T>(a.k_nope, first + j) + head * a.k_head_stride, a.d_nope);
    prefetch_row(row_of<const T>(a.v, first + j) + head * a.v_head_stride, a.d_v);
  }
}

}  // namespace
}  // namespace hadal::kernels::HADAL_ISA
