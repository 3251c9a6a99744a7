// The block formats of GGUF that Hadal writes: 32 neighbouring values of a row share one IEEE half d.
//   Q8_0  34 bytes: d, then 32 signed bytes q          value = d * q          d = amax / 127, q rounded half away
//     from 0
//   Q4_0  18 bytes: d, then 16 bytes of two nibbles    value = d * (q - 8)    d = m / -8 for the m of largest
//     magnitude;
//         byte i holds q of value i in its low and of value i + 16 in its high nibble
#pragma once
#include <cstdint>

namespace hadal {

constexpr int64_t kGgufBlock = 32, kQ8BlockBytes = 34, kQ4BlockBytes = 18;

// n values, a multiple of 32. Throw corrupt on a value that is not finite or too large for a half.
void encode_q8_0(const float* values, int64_t n, uint8_t* out);
void encode_q4_0(const float* values, int64_t n, uint8_t* out);

}  // namespace hadal
