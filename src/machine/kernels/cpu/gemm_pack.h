// Packing for gemm_micro.h: strided f32, bf16, f16 or E4M3 codes become dense 4-byte units; what lies past an edge
// becomes zero.
// A source element (i, k) is p[i * line + k] ("along K") or p[k * line + i] ("across K"), i being a row of A or a
// column of B.
#pragma once
#include "kernels/cpu/gemm_micro.h"
#include "kernels/cpu/product_tasks.h"

namespace hadal::kernels::HADAL_ISA {

// Units from a line of elements that runs along K: floats, or what is widened to them.
template <class Step, class T>
struct Along {
  HADAL_INLINE V units(const T* p, int64_t depth) { return depth >= kW ? load(p) : load_n(p, depth); }
};
// kW units across K: elements of line k (and of k + 1, for pairs). `whole`: all of them are there.
template <class Step, class T>
struct Across {
  HADAL_INLINE V whole(const T* p, int64_t) { return load(p); }
  HADAL_INLINE V units(const T* p, int64_t, int64_t, int64_t n) { return n >= kW ? load(p) : load_n(p, n); }
};
#if defined(HADAL_PAIRS)
template <class T>
struct Along<StepBf16, T> {  // bf16, or codes widened to it
  HADAL_INLINE V units(const T* p, int64_t depth) { return depth >= 2 * kW ? load_words(p) : load_words_n(p, depth); }
};
template <class T>
struct Across<StepBf16, T> {
  HADAL_INLINE V whole(const T* p, int64_t line) { return as_words(interleave(p, p + line)); }
  HADAL_INLINE V units(const T* p, int64_t line, int64_t depth, int64_t n) {
    return as_words(interleave_n(p, depth > 1 ? p + line : nullptr, least(n, kW)));
  }
};
#endif

// What is packed next, asked for line by line while this panel is packed or multiplied: packing would wait for every
// line that comes from memory (the weights of few rows; an operand that lies across K, whose lines are short and far
// apart).
struct Ahead {
  const char* line = nullptr;
  int64_t stride = 0, bytes = 0, left = 0;  // lines of `bytes` bytes
  void ask(int64_t lines) {
    for (lines = least(lines, left); lines > 0; --lines, --left, line += stride) {
      for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(line + i, 0, 2);
    }
  }
};

// A along K -> panels of [row][units of a chunk].
template <class Step, class T>
static void pack_a_rows(float* out, const T* p, int64_t line, int64_t rows, int64_t depth) {
  constexpr int64_t kStride = kGemmChunk / Step::kDepth, kLoad = kW * Step::kDepth;
  for (int64_t first = 0; first < rows; first += kRows, out += kPackedPanel<Step>) {
    for (int64_t r = 0; r < kRows && first + r < rows; ++r) {
      const T* source = p + (first + r) * line;
      float* target = out + r * kStride;
      for (int64_t k = 0; k < depth; k += kLoad)
        store(target + k / Step::kDepth, Along<Step, T>::units(source + k, depth - k));
    }
  }
}

// A across K -> panels of [unit][kRows], four units of a panel at a time. A whole vector is stored, over what belongs
// to the next unit, which comes after; behind a panel's last unit there is room. The next four lines are asked for.
template <class Step, class T>
static void pack_a_depth(float* out, const T* p, int64_t line, int64_t rows, int64_t depth) {
  constexpr int64_t kUnits = 4;
  static_assert(kW - kRows <= 16, "kPackedPanel leaves 16 words");
  for (int64_t k = 0; k < depth; k += kUnits * Step::kDepth) {
    const T* source = p + k * line;
    float* target = out + k / Step::kDepth * kRows;
    const int64_t left = depth - k;
    int64_t r = 0;
    for (; left >= kUnits * Step::kDepth && r + kW <= rows; r += kRows, target += kPackedPanel<Step>) {
#pragma GCC unroll 8
      for (int64_t u = 0; u < kUnits * Step::kDepth; ++u)
        __builtin_prefetch(source + r + (kUnits * Step::kDepth + u) * line);
#pragma GCC unroll 8
      for (int64_t u = 0; u < kUnits; ++u)
        store(target + u * kRows, Across<Step, T>::whole(source + r + u * Step::kDepth * line, line));
    }
    for (; r < rows; r += kRows, target += kPackedPanel<Step>) {
      for (int64_t u = 0; u < kUnits && u * Step::kDepth < left; ++u) {
        const int64_t at = u * Step::kDepth;
        store(target + u * kRows, Across<Step, T>::units(source + r + at * line, line, left - at, rows - r));
      }
    }
  }
}

// B along K (weights [n, k]) -> panel [unit][kWidth], through transposed squares in registers.
template <class Step, class T, int NV>
static void pack_b_transposed(float* out, const T* p, int64_t line, int64_t cols, int64_t depth, Ahead next) {
  const int64_t units = (depth + Step::kDepth - 1) / Step::kDepth;
  for (int64_t j = 0; j < NV * kW; j += kW) {
    for (int64_t u = 0; u < units; u += kW) {
      V square[kW];
      next.ask(2);
      const T* source = p + j * line + u * Step::kDepth;
      const int64_t left = depth - u * Step::kDepth, here = cols - j;
      if (left >= kW * Step::kDepth && here >= kW) {
#pragma GCC unroll 16
        for (int64_t i = 0; i < kW; ++i) square[i] = Along<Step, T>::units(source + i * line, kW * Step::kDepth);
      } else {
#pragma GCC unroll 16
        for (int64_t i = 0; i < kW; ++i) square[i] = i < here ? Along<Step, T>::units(source + i * line, left) : zero();
      }
      transpose(square);
      float* target = out + u * NV * kW + j;
      if (units - u >= kW) {
#pragma GCC unroll 16
        for (int64_t i = 0; i < kW; ++i) store(target + i * NV * kW, square[i]);
      } else {
        for (int64_t i = 0; i < units - u; ++i) store(target + i * NV * kW, square[i]);
      }
    }
  }
}

// B across K (rows are k) -> panel [unit][NV * kW].
template <class Step, class T, int NV>
static void pack_b_rows(float* out, const T* p, int64_t line, int64_t cols, int64_t depth) {
  for (int64_t k = 0; k < depth; k += Step::kDepth) {
    const T* source = p + k * line;
    float* target = out + k / Step::kDepth * NV * kW;
    if (cols >= NV * kW && depth - k >= Step::kDepth) {
#pragma GCC unroll 4
      for (int64_t j = 0; j < NV * kW; j += kW) store(target + j, Across<Step, T>::whole(source + j, line));
      continue;
    }
#pragma GCC unroll 4
    for (int64_t j = 0; j < NV * kW; j += kW) {
      if (cols > j) {
        store(target + j, Across<Step, T>::units(source + j, line, depth - k, cols - j));
      } else {
        store(target + j, zero());
      }
    }
  }
}

}  // namespace hadal::kernels::HADAL_ISA
