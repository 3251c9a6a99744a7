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

// Codes whose rows lie along k: a word of a panel is four neighbours.
void pack_code_words(const PackPanels& p, int64_t first_col, int64_t begin, int64_t end) {
  const int64_t w = p.panel_cols, cols = std::min(w, p.n - first_col), words = (p.k + 3) / 4;
  auto* to = static_cast<uint32_t*>(p.panels) + first_col * words + begin / 4 * w;
  for (int64_t c = 0; c < w; ++c) {
    const uint8_t* from = static_cast<const uint8_t*>(p.b) + (first_col + c) * p.b_col;
    uint32_t* word = to + c;
    for (int64_t k = begin; k < end; k += 4, word += w) {
      *word = 0;
      if (c < cols) std::memcpy(word, from + k, size_t(std::min<int64_t>(4, p.k - k)));
    }
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
      p.b_row == 1 ? pack_code_words(p, first_col, begin, end) : pack_part<uint8_t, 4>(p, first_col, begin, end);
    } else if (p.type == PanelType::bf16) {
      pack_part<uint16_t, 2>(p, first_col, begin, end);
    } else {
      pack_part<uint32_t, 1>(p, first_col, begin, end);
    }
  });
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
