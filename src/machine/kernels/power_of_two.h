// The numbers of 2^x in attention, shared by the vector kernels on AVX2 (cpu/simd_avx2.h) and the device's
// (cuda/numbers.h): 2^x = 2^n q(f) with n = x to nearest, f = x - n.
#pragma once

namespace hadal::kernels {

constexpr float kPowerLowest = -126.0f;  // below it stays there
constexpr float kPower5 = 0.0013264727213746820f, kPower4 = 0.0096715128124946380f, kPower3 = 0.0555073374483924500f;
constexpr float kPower2 = 0.2402224208267750000f, kPower1 = 0.6931469775973306000f, kPower0 = 1.0f;

}  // namespace hadal::kernels
