// Q8_0 and Q4_0, block by block; see gguf_blocks.h.
#include "storage/gguf_blocks.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/float_formats.h"

namespace hadal {

namespace {

constexpr float kHalfMax = 65504.0f;

// The value of largest magnitude, the first of equals.
float extreme(const float* values) {
  float found = 0;
  bool finite = true;
  for (int64_t i = 0; i < kGgufBlock; ++i) {
    finite &= std::fabs(values[i]) <= FLT_MAX;
    if (std::fabs(values[i]) > std::fabs(found)) found = values[i];
  }
  check(finite, ErrorKind::corrupt, "it holds a value that is not finite, which GGUF blocks cannot carry");
  return found;
}

void put_half(float value, uint8_t* out) {
  check(std::fabs(value) <= kHalfMax, ErrorKind::unsupported, "a block's scale of {} passes the half's limit of {}",
        value, kHalfMax);
  const uint16_t bits = f16::round(value);
  std::memcpy(out, &bits, 2);
}

}  // namespace

void encode_q8_0(const float* values, int64_t n, uint8_t* out) {
  for (; n > 0; n -= kGgufBlock, values += kGgufBlock, out += kQ8BlockBytes) {
    const float d = std::fabs(extreme(values)) / 127.0f, inverse = d > 0 ? 1.0f / d : 0.0f;
    put_half(d, out);
    for (int64_t i = 0; i < kGgufBlock; ++i) out[2 + i] = uint8_t(int8_t(std::round(values[i] * inverse)));
  }
}

void encode_q4_0(const float* values, int64_t n, uint8_t* out) {
  for (; n > 0; n -= kGgufBlock, values += kGgufBlock, out += kQ4BlockBytes) {
    const float d = extreme(values) / -8.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
    put_half(d, out);
    const auto nibble = [&](int64_t i) { return uint8_t(std::min(15.0f, values[i] * inverse + 8.5f)); };
    for (int64_t i = 0; i < kGgufBlock / 2; ++i) out[2 + i] = uint8_t(nibble(i) | nibble(i + kGgufBlock / 2) << 4);
  }
}

}  // namespace hadal
