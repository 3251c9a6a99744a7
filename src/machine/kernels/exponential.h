// The numbers of e^x, shared by the vector kernels (cpu/simd.h) and the device's (cuda/numbers.h), which
// take the same steps: so an exponential has the same bits on both.
#pragma once

namespace hadal::kernels {

// e^x = 2^n e^r with n = x log2(e) to nearest, r = x - n ln(2) in two parts; e^r = 1 + r + r^2 p(r).
constexpr float kExpLowest = -104.0f, kExpHighest = 89.0f;  // beyond: 0 and infinity
constexpr float kLog2OfE = 1.44269504088896341f, kMinusLn2High = -0.693359375f, kMinusLn2Low = 2.12194440e-4f;
constexpr float kExp5 = 1.9875691500e-4f, kExp4 = 1.3981999507e-3f, kExp3 = 8.3334519073e-3f;
constexpr float kExp2 = 4.1665795894e-2f, kExp1 = 1.6666665459e-1f, kExp0 = 5.0000001201e-1f;

}  // namespace hadal::kernels
