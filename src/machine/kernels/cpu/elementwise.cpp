#include "kernels/elementwise.h"

#include "kernels/cpu/vectors.h"

namespace hadal::kernels::HADAL_ISA {
namespace {

template <class Y, class A, class B>
void add_block(const AddRows& k, int64_t begin, int64_t end) {
  for (int64_t r = begin; r < end; ++r) {
    const A* a = k.a.row<A>(r);
    const B* b = k.b.row<B>(r);
    Y* y = k.y.row<Y>(r);
    each_vector(k.cols,
                [&](int64_t c, auto n) { store_lanes(y + c, add(load_lanes(a + c, n), load_lanes(b + c, n)), n); });
  }
}

template <class X, class Y>
void scale_block(const ScaleRows& k, int64_t begin, int64_t end) {
  const V factor = broadcast(float(k.factor));
  for (int64_t r = begin; r < end; ++r) {
    const X* x = k.x.row<X>(r);
    Y* y = k.y.row<Y>(r);
    if (sizeof(X) == sizeof(Y) && k.factor == 1.0) {
      if (static_cast<const void*>(x) != y) __builtin_memcpy(y, x, size_t(k.cols) * sizeof(X));
    } else {
      each_vector(k.cols, [&](int64_t c, auto n) { store_lanes(y + c, mul(load_lanes(x + c, n), factor), n); });
    }
  }
}

// Compiler vectors that every instruction set here holds in one register: the sum of squares has one lane pattern, and
// one result, on all of them.
using Float4 = float __attribute__((vector_size(16)));
using Double4 = double __attribute__((vector_size(32)));
using Word4 = uint32_t __attribute__((vector_size(16)));
using Half4 = uint16_t __attribute__((vector_size(8)));
using Word8 = uint32_t __attribute__((vector_size(32)));
using Half8 = uint16_t __attribute__((vector_size(16)));

HADAL_INLINE Float4 four(const float* p) {
  Float4 value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}
HADAL_INLINE Float4 four(const bf16* p) {
  Half4 half;
  __builtin_memcpy(&half, p, sizeof(half));
  return reinterpret_cast<Float4>(__builtin_convertvector(half, Word4) << 16);
}
HADAL_INLINE Float4 four(const f16* p) { return _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))); }
HADAL_INLINE Word8 bits8(const float* p) {
  Word8 bits;
  __builtin_memcpy(&bits, p, sizeof(bits));
  return bits;
}
HADAL_INLINE Word8 bits8(const bf16* p) {
  Half8 half;
  __builtin_memcpy(&half, p, sizeof(half));
  return __builtin_convertvector(half, Word8) << 16;
}
HADAL_INLINE Word8 bits8(const f16* p) {
  return reinterpret_cast<Word8>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

// Squares of floats are exact in double; eight accumulators of four lanes, the rest of a line one by one.
template <class X>
double squares_of_line(const X* x, int64_t count) {
  Double4 sum[8] = {};
  int64_t c = 0;
  for (; c + 32 <= count; c += 32) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const Double4 v = __builtin_convertvector(four(x + c + 4 * i), Double4);
      sum[i] += v * v;
    }
  }
  sum[0] = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
  double total = (sum[0][0] + sum[0][1]) + (sum[0][2] + sum[0][3]);
  for (; c < count; ++c) {
    const double v = double(to_float(x[c]));
    total += v * v;
  }
  return total;
}

template <class X>
bool row_is_finite(const X* x, int64_t count) {
  Word8 bad = {};
  int64_t c = 0;
  for (; c + 8 <= count; c += 8) bad |= Word8((bits8(x + c) & 0x7f800000u) == 0x7f800000u);
  uint32_t any_bad = 0;
  for (int i = 0; i < 8; ++i) any_bad |= bad[i];
  for (; c < count; ++c) {
    const float v = to_float(x[c]);
    any_bad |= uint32_t(!(v - v == 0.0f));
  }
  return any_bad == 0;
}

}  // namespace

void add_rows(const AddRows& k) {
  visit_small(
      [&](auto y, auto a, auto b) {
        parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
          add_block<element<decltype(y)>, element<decltype(a)>, element<decltype(b)>>(k, begin, end);
        });
      },
      k.y.dtype, k.a.dtype, k.b.dtype);
}

void scale_rows(const ScaleRows& k) {
  visit_small(
      [&](auto x, auto y) {
        parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
          scale_block<element<decltype(x)>, element<decltype(y)>>(k, begin, end);
        });
      },
      k.x.dtype, k.y.dtype);
}

void sum_of_squares(const SumOfSquares& k) {
  visit_small(
      [&](auto x) {
        const int64_t block = rows_per_task(k.cols);
        k.lane->parallel_for((k.rows + block - 1) / block, [&](int64_t task, int worker) {
          const int64_t end = (task + 1) * block < k.rows ? (task + 1) * block : k.rows;
          for (int64_t r = task * block; r < end; ++r)
            for (int64_t c = 0; c < k.cols; c += kSquaresLine) {
              const int64_t left = k.cols - c;
              k.workers[worker].add(
                  squares_of_line(k.x.row<element<decltype(x)>>(r) + c, left < kSquaresLine ? left : kSquaresLine));
            }
        });
      },
      k.x.dtype);
  for (int w = 0; w < k.lane->n_threads(); ++w) k.result->merge(k.workers[w]);
}

void all_finite(const AllFinite& k) {
  bool finite = true;
  visit_small(
      [&](auto x) {
        parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r)
            if (!row_is_finite(k.x.row<element<decltype(x)>>(r), k.cols))
              __atomic_store_n(&finite, false, __ATOMIC_RELAXED);
        });
      },
      k.x.dtype);
  *k.result = __atomic_load_n(&finite, __ATOMIC_RELAXED);
}

}  // namespace hadal::kernels::HADAL_ISA
