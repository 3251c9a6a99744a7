// Up to two tiles of rows with a weight packed once, as decoding has them: memory is what bounds it. The rows of A lie
// in tiles for all of K (in bands, where that is too much), tiles no higher than there are rows, and the panels stream
// through: pairs of bf16 are read where they lie, codes are widened a chunk at a time.
#pragma once
#include "kernels/amx/gemm_block.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

constexpr int64_t kBand = kBytesOfA / (2 * 2 * kTileRows);  // of K, whose rows of A find room
static_assert(kBand % kGemmChunk == 0);

// Panels follow one another in memory, so that what lies behind the end of one is what is read next.
template <int64_t kBytes>
HADAL_INLINE void ask_ahead(const char* b) {
#pragma GCC unroll 32
  for (int64_t i = 0; i < kBytes; i += 64) __builtin_prefetch(b + kAhead + i, 0, 2);
}

// The last step of a panel of pairs where it is not whole: a copy with zeros behind it.
HADAL_INLINE const char* padded_step(float* to, const char* from, int64_t units) {
  for (int64_t u = 0; u < kTileRows; ++u) {
    const float* line = reinterpret_cast<const float*>(from + u * kLineOfB);
    for (int64_t j = 0; j < kPanel; j += kW) store(to + u * kPanel + j, u < units ? load(line + j) : zero());
  }
  return reinterpret_cast<const char*>(to);
}

struct Band {
  int64_t k, depth, steps;
  bool begins;  // the totals begin with it
};

// The rows by a panel of pairs over a band.
template <int kRowTiles>
HADAL_INLINE void few_pairs(const TileBlock& x, int64_t col, const Band& band) {
  float* totals = x.totals_at(0, col);
  float* lower = totals + kTileRows * kPanel;
  band.begins ? zero_pairs<kRowTiles>() : load_pairs_of_tiles<kRowTiles>(totals, lower, kPanel);
  const char *b = reinterpret_cast<const char*>(panel_at<bf16>(x, col, band.k)), *a = x.a;
  for (int64_t s = 0; s < band.steps; ++s, a += kTileBytes, b += kStepOfB) {
    ask_ahead<kStepOfB>(b);
    const int64_t units = ceil_div(band.depth - s * kTileDepth, 2);
    multiply_steps<kRowTiles>(a, a + band.steps * kTileBytes, units >= kTileRows ? b : padded_step(x.b, b, units), 1);
  }
  store_pairs_of_tiles<kRowTiles>(totals, lower, kPanel);
}

// The scales of the chunk from k on.
HADAL_INLINE SumScales scales_of_chunk(const TileBlock& x, int64_t col, int64_t k) {
  SumScales scales;
  scales.all = chunk_scale<Code>(x, col, k);
  if (const ProductScales* s = scales_of(x.args, x.product)) {
    gather_scales(x.row_scales, s->a, x.row, x.rows, k);
    scales.rows = x.row_scales;
  }
  return scales;
}

// The rows by a panel of codes over a band. What is stored is read by the tiles a step later, and their sums a chunk
// later: neither waits for the other then.
template <int kRowTiles>
HADAL_INLINE void few_codes(const TileBlock& x, int64_t col, const Band& band) {
  constexpr int64_t kSteps = kGemmChunk / kTileDepth;  // of a chunk
  const float* lines = panel_at<Code>(x, col, band.k);
  const float* marks = marks_at<Code>(x, col, band.k);
  float* totals = x.totals_at(0, col);
  const auto widened = [&](int64_t s) __attribute__((always_inline)) { return x.b + (s & 1) * (kStepOfB / 4); };
  const auto widen = [&](int64_t s) __attribute__((always_inline)) {
    const uint32_t of_chunk = read_marks(marks + s / kSteps);
    const float* words = lines + panel_words_of<Code>(s * kTileDepth);
    widen_codes(widened(s), words, of_chunk >> s % kSteps * (kTileDepth / kPerWord<Code>),
                least(kTileDepth, band.depth - s * kTileDepth));
  };
  const auto sums = [&](int64_t chunk) __attribute__((always_inline)) {
    return x.sums + (chunk & 1) * (2 * kTileRows * kPanel);
  };
  const auto add = [&](int64_t chunk) __attribute__((always_inline)) {
    add_scaled(totals, sums(chunk), x.rows, scales_of_chunk(x, col, band.k + chunk * kGemmChunk),
               band.begins && chunk == 0);
  };
  const char* a = x.a;
  widen(0);
  for (int64_t s = 0; s < band.steps; ++s, a += kTileBytes) {
    if (s + 1 < band.steps) widen(s + 1);
    if (s % kSteps == 0) zero_pairs<kRowTiles>();
    multiply_steps<kRowTiles>(a, a + band.steps * kTileBytes, reinterpret_cast<const char*>(widened(s)), 1);
    if (s % kSteps != kSteps - 1 && s + 1 < band.steps) continue;
    float* to = sums(s / kSteps);
    store_pairs_of_tiles<kRowTiles>(to, to + kTileRows * kPanel, kPanel);
    if (s >= kSteps) add(s / kSteps - 1);
  }
  add((band.steps - 1) / kSteps);
}

// One to four rows: tiles take as long for them as for sixteen, so vectors take the tiles' steps instead, to the bit
// (subnormals being zero: the caller sets the unit so). R rows by a panel, `depth` deep; totals [R][kPanel].
template <class TB, int R>
__attribute__((noinline)) void vector_steps(float* totals, const char* a, const float* words, uint32_t marks,
                                            int64_t depth, bool begins) {
  V total[R][kVectors];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) total[r][j] = begins ? zero() : load(totals + r * kPanel + j * kW);
  }
  for (int64_t k = 0; k < depth; k += kTileDepth, a += kTileBytes) {
    V even[R][kVectors], odd[R][kVectors];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) even[r][j] = odd[r][j] = zero();
    }
    const auto unit = [&](const V(&w)[kVectors], const char* at) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const V x = broadcast(*reinterpret_cast<const float*>(at + r * kTileLine));
        const V x_even = lower_halves(x), x_odd = upper_halves(x);
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) {
          even[r][j] = fma(x_even, lower_halves(w[j]), even[r][j]);
          odd[r][j] = fma(x_odd, upper_halves(w[j]), odd[r][j]);
        }
      }
    };
    const int64_t lines = ceil_div(least(kTileDepth, depth - k), kPerWord<TB>);
    const char* at = a;
    for (int64_t i = 0; i < lines; ++i, words += kPanel, marks >>= 1) {
      const auto pair = [&]<int kUnit, bool kMarked>() __attribute__((always_inline)) {
        V w[kVectors];
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) w[j] = unit_of<StepBf16, TB, kUnit, kMarked>(load(words + j * kW));
        unit(w, at), at += 4;
      };
      for (int j = 0; j < kVectors; ++j)
        __builtin_prefetch(reinterpret_cast<const char*>(words + j * kW) + kAhead, 0, 2);
      if constexpr (sizeof(TB) == 2) {
        pair.template operator()<0, true>();
      } else if ((marks & 1) == 0) {
        pair.template operator()<0, false>(), pair.template operator()<1, false>();
      } else {
        pair.template operator()<0, true>(), pair.template operator()<1, true>();
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) total[r][j] = add(total[r][j], add(even[r][j], odd[r][j]));
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) store(totals + r * kPanel + j * kW, total[r][j]);
  }
}
template <class TB>
void vector_rows(int64_t rows, float* totals, const char* a, const float* words, uint32_t marks, int64_t depth,
                 bool begins) {
  constexpr unsigned kSubnormalsAreZero = 0x8040;
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | kSubnormalsAreZero);
  if (rows == 1) {
    vector_steps<TB, 1>(totals, a, words, marks, depth, begins);
  } else if (rows == 2) {
    vector_steps<TB, 2>(totals, a, words, marks, depth, begins);
  } else {
    rows == 3 ? vector_steps<TB, 3>(totals, a, words, marks, depth, begins)
              : vector_steps<TB, 4>(totals, a, words, marks, depth, begins);
  }
  _mm_setcsr(before);
}
constexpr int64_t kVectorRows = 4;

void vector_band(const TileBlock& x, const Band& band) {
  for (int64_t col = 0; col < x.cols; col += kPanel) {
    float* totals = x.totals_at(0, col);
    if (!x.spread_codes()) {
      vector_rows<bf16>(x.rows, totals, x.a, panel_at<bf16>(x, col, band.k), 0, band.depth, band.begins);
      continue;
    }
    const float* marks = marks_at<Code>(x, col, band.k);
    for (int64_t k = 0; k < band.depth; k += kGemmChunk, ++marks) {
      vector_rows<Code>(x.rows, x.sums, x.a + k / kTileDepth * kTileBytes, panel_at<Code>(x, col, band.k + k),
                        read_marks(marks), least(kGemmChunk, band.depth - k), true);
      add_scaled(totals, x.sums, x.rows, scales_of_chunk(x, col, band.k + k), band.begins && k == 0);
    }
  }
}

template <int kRowTiles>
void few_band(const TileBlock& x, const Band& band) {
  for (int64_t col = 0; col < x.cols; col += kPanel)
    x.spread_codes() ? few_codes<kRowTiles>(x, col, band) : few_pairs<kRowTiles>(x, col, band);
}

template <class T>
void few_block(const TileBlock& x) {
  const int64_t first = least(x.rows, kTileRows), k_size = x.product.k;
  const TileUse use(first, x.rows > kTileRows ? x.rows - kTileRows : first);
  if (x.args.add) {
    for (int64_t col = 0; col < x.cols; col += kPanel) totals_from_c(x, 0, col, x.rows);
  }
  for (int64_t k = 0; k < k_size; k += kBand) {
    const Band band{k, least(kBand, k_size - k), ceil_div(least(kBand, k_size - k), kTileDepth), k == 0 && !x.args.add};
    pack_rows<T>(x, k, band.depth, band.steps, x.rows);
    if (x.rows <= kVectorRows) {
      vector_band(x, band);
    } else {
      x.rows > kTileRows ? few_band<2>(x, band) : few_band<1>(x, band);
    }
  }
  for (int64_t col = 0; col < x.cols; col += kPanel) totals_to_c(x, 0, col, x.rows);
}

}  // namespace
}  // namespace hadal::kernels::HADAL_ISA
