#include "kernels/gemm_panels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/float_formats.h"

namespace hadal::kernels {

const char* panel_type_name(PanelType type) {
  switch (type) {
    case PanelType::f32: return "F32";
    case PanelType::bf16: return "BF16";
    case PanelType::fp8: return "FP8";
    case PanelType::int8: return "int8";
    case PanelType::int4: return "int4";
  }
  return "";
}

namespace {

// k from begin to end of one panel. T: a column's part of a word, kPer of them.
template <class T, int64_t kPer>
void pack_part(const PackPanels& p, int64_t first_col, int64_t begin, int64_t end) {
  const int64_t w = p.panel_cols, cols = std::min(w, p.n - first_col);
  const T* from = static_cast<const T*>(p.b) + first_col * p.b_col;
  T* to = static_cast<T*>(p.panels) + (first_col * ((p.k + kPer - 1) / kPer) + begin / kPer * w) * kPer;
  for (int64_t k = begin; k < end; k += kPer, to += w * kPer) {
    for (int64_t c = 0; c < w; ++c) {
      for (int64_t i = 0; i < kPer; ++i)
        to[c * kPer + i] = c < cols && k + i < p.k ? from[(k + i) * p.b_row + c * p.b_col] : T(0);
    }
  }
}

// Four codes, the first in the lowest byte, spread over their word; and back.
inline uint32_t spread(uint32_t codes) {
  const uint32_t near = (codes & 0x80) << 8 | (codes & 0x7f) << 4 | (codes & 0x8000) << 16 | (codes & 0x7f00) << 12;
  const uint32_t second = codes >> 16, far = (second & 0x78) << 8 | (second & 7) | (second & 0x7800) << 16 |
                                             (second & 0x700) << 8 | (second & 0x80) << 12 | (second & 0x8000) >> 12;
  return near | far;
}
inline uint32_t gathered(uint32_t word) {
  const uint32_t near = (word >> 8 & 0x80) | (word >> 4 & 0x7f) | (word >> 16 & 0x8000) | (word >> 12 & 0x7f00);
  const uint32_t far = (word >> 8 & 0x78) | (word & 7) | (word >> 16 & 0x7800) | (word >> 8 & 0x700) |
                       (word >> 12 & 0x80) | (word << 12 & 0x8000);
  return near | far << 16;
}
// Not zero where one of the four codes is subnormal.
inline uint32_t subnormal(uint32_t codes) {
  const uint32_t exponents = codes & 0x78787878;
  return (exponents - 0x01010101) & ~exponents & 0x80808080;
}

// A word of a panel is four codes along k.
void pack_codes(const PackPanels& p, int64_t first_col, int64_t begin, int64_t end) {
  const int64_t w = p.panel_cols, cols = std::min(w, p.n - first_col), lines = (p.k + 3) / 4;
  auto* panel = reinterpret_cast<uint32_t*>(static_cast<char*>(p.panels) +
                                            first_col / w * gemm_panel_stride(PanelType::fp8, p.k, w));
  for (int64_t c = 0; c < w; ++c) {
    const uint8_t* from = static_cast<const uint8_t*>(p.b) + (first_col + c) * p.b_col;
    uint32_t* word = panel + begin / 4 * w + c;
    for (int64_t k = begin; k < end; k += 4, word += w) {
      const int64_t n = c < cols ? std::min<int64_t>(4, p.k - k) : 0;
      *word = 0;
      if (p.b_row == 1) {
        std::memcpy(word, from + k, size_t(n));
      } else {
        for (int64_t i = 0; i < n; ++i) *word |= uint32_t(from[(k + i) * p.b_row]) << 8 * i;
      }
    }
  }
  if (!spreads_codes(w)) return;
  uint32_t* marks = panel + w * lines;
  const int64_t last = end == p.k ? mark_words(p.k) : end / kFp8Block;
  std::fill(marks + begin / kFp8Block, marks + last, 0u);
  for (int64_t k = begin; k < end; k += 4) {
    uint32_t any = 0;
    for (uint32_t* word = panel + k / 4 * w; word < panel + (k / 4 + 1) * w; word += 8) {
      for (int i = 0; i < 8; ++i) any |= subnormal(word[i]), word[i] = spread(word[i]);
    }
    marks[k / kFp8Block] |= uint32_t(any != 0) << (k % kFp8Block / 4);
  }
}

struct Integers {
  f16 scale;
  int8_t q[kIntegerGroup];
};

Integers rounded(const float* values, PanelType type) {
  float largest = 0;
  bool finite = true;
  for (int64_t i = 0; i < kIntegerGroup; ++i) {
    finite &= std::isfinite(values[i]);
    if (std::fabs(values[i]) > std::fabs(largest)) largest = values[i];
  }
  const bool bytes = type == PanelType::int8;
  Integers result{f16(bytes ? std::fabs(largest) / 127.0f : largest / -8.0f), {}};
  if (!finite) result.scale = f16(std::nanf(""));
  const float scale = float(result.scale);
  if (!finite || scale == 0) return result;
  const float low = bytes ? -127.0f : -8.0f, high = bytes ? 127.0f : 7.0f;
  for (int64_t i = 0; i < kIntegerGroup; ++i)
    result.q[i] = int8_t(std::clamp(std::nearbyintf(values[i] / scale), low, high));
  return result;
}

void write_group(const PackPanels& p, const Integers& from, int64_t column, uint8_t* group) {
  std::memcpy(group + 2 * column, &from.scale, 2);
  uint8_t* words = group + 2 * p.panel_cols + 4 * column;
  const int64_t line = 4 * p.panel_cols;
  for (int64_t i = 0; i < kIntegerGroup; ++i) {
    if (p.type == PanelType::int8) {
      words[i / 4 * line + i % 4] = uint8_t(from.q[i] + 128);
    } else {
      uint8_t& byte = words[i / 8 * line + i % 4];
      const int nibble = from.q[i] + 8;
      byte = uint8_t(i % 8 < 4 ? nibble : byte | nibble << 4);
    }
  }
}

template <class T>
void pack_integers(const PackPanels& p, int64_t first_col, int64_t begin, int64_t end) {
  const int64_t groups = integer_groups(p.k);
  const int64_t bytes = integer_group_bytes(p.type, p.panel_cols);
  auto* group = static_cast<uint8_t*>(p.panels) + (first_col / p.panel_cols * groups + begin / kIntegerGroup) * bytes;
  for (int64_t k = begin; k < end; k += kIntegerGroup, group += bytes) {
    for (int64_t c = 0; c < p.panel_cols; ++c) {
      float values[kIntegerGroup] = {};
      const T* from = static_cast<const T*>(p.b) + (first_col + c) * p.b_col + k * p.b_row;
      if (first_col + c < p.n) {
        for (int64_t i = 0; i < std::min(kIntegerGroup, p.k - k); ++i) values[i] = float(from[i * p.b_row]);
      }
      write_group(p, rounded(values, p.type), c, group);
    }
  }
}

}  // namespace

void pack_panels(const PackPanels& p) {
  constexpr int64_t kDepth = 1024;  // of a task
  const int64_t panels = (p.n + p.panel_cols - 1) / p.panel_cols, parts = (p.k + kDepth - 1) / kDepth;
  p.lane->parallel_for(panels * parts, [&](int64_t task, int) {
    const int64_t first_col = task / parts * p.panel_cols, begin = task % parts * kDepth;
    const int64_t end = std::min(p.k, begin + kDepth);
    if (is_integer(p.type)) {
      p.from == DType::bf16 ? pack_integers<bf16>(p, first_col, begin, end)
                            : pack_integers<float>(p, first_col, begin, end);
    } else if (p.type == PanelType::fp8) {
      pack_codes(p, first_col, begin, end);
    } else if (p.type == PanelType::bf16) {
      pack_part<uint16_t, 2>(p, first_col, begin, end);
    } else {
      pack_part<uint32_t, 1>(p, first_col, begin, end);
    }
  });
}

uint8_t panel_code(const void* panels, int64_t k, int64_t n, int64_t depth, int64_t panel_cols) {
  const auto* panel =
      static_cast<const char*>(panels) + n / panel_cols * gemm_panel_stride(PanelType::fp8, depth, panel_cols);
  uint32_t word;
  std::memcpy(&word, panel + 4 * (k / 4 * panel_cols + n % panel_cols), 4);
  return uint8_t((spreads_codes(panel_cols) ? gathered(word) : word) >> 8 * (k % 4));
}

void integer_group_values(PanelType type, const uint8_t* group, int64_t column, int64_t panel_cols, int8_t* q,
                          float* scale) {
  f16 stored;
  std::memcpy(&stored, group + 2 * column, 2);
  *scale = float(stored);
  const uint8_t* words = group + 2 * panel_cols + 4 * column;
  const int64_t line = 4 * panel_cols;
  for (int64_t i = 0; i < kIntegerGroup; ++i) {
    if (type == PanelType::int8) {
      q[i] = int8_t(words[i / 4 * line + i % 4] - 128);
    } else {
      const int byte = words[i / 8 * line + i % 4];
      q[i] = int8_t((i % 8 < 4 ? byte & 15 : byte >> 4) - 8);
    }
  }
}

}  // namespace hadal::kernels
