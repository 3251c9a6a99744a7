// Philox 4x32-10: ten rounds of two 32x32 -> 64 bit products. Key = seed, counter = (index, stream).
#include "base/random.h"

#include <cmath>

#include "base/error.h"

namespace hadal {
namespace {

constexpr uint64_t mix(uint64_t x) {  // the finaliser of splitmix64
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

constexpr double kTwoToMinus53 = 1.0 / 9007199254740992.0;

double unit(uint32_t low, uint32_t high) { return double((uint64_t(high) << 32 | low) >> 11) * kTwoToMinus53; }

}  // namespace

std::array<uint32_t, 4> philox(uint64_t seed, uint64_t stream, uint64_t index) {
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
  std::array<uint32_t, 4> c = {uint32_t(index), uint32_t(index >> 32), uint32_t(stream), uint32_t(stream >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53u) * c[0], b = uint64_t(0xCD9E8D57u) * c[2];
    c = {uint32_t(b >> 32) ^ c[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ c[3] ^ k1, uint32_t(a)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

uint64_t stream_id(std::string_view name, uint64_t a, uint64_t b) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001b3ull;
  hash = mix(hash + 0x9e3779b97f4a7c15ull);
  hash = mix(hash ^ mix(a + 0x9e3779b97f4a7c15ull));
  return mix(hash + mix(b + 0xd1b54a32d192ed03ull));
}

uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index) {
  const auto c = philox(seed, stream, index);
  return uint64_t(c[1]) << 32 | c[0];
}

double random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
  const auto c = philox(seed, stream, index);
  return unit(c[0], c[1]);
}

double random_normal(uint64_t seed, uint64_t stream, uint64_t index) {
  const auto c = philox(seed, stream, index);
  const double radius = std::sqrt(-2.0 * std::log(1.0 - unit(c[0], c[1])));  // 1 - u is in (0, 1]
  return radius * std::cos(6.283185307179586476925 * unit(c[2], c[3]));
}

uint64_t random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n) {
  check(n > 0, ErrorKind::internal, "random_below needs n > 0");
  // Lemire's multiplication method; a rejected draw rehashes within a derived stream, so one index stays one number.
  uint64_t bits = random_bits(seed, stream, index);
  unsigned __int128 product = (unsigned __int128)(bits)*n;
  if (uint64_t(product) < n) {
    const uint64_t threshold = (0 - n) % n;
    for (uint64_t retry = 1; uint64_t(product) < threshold; ++retry) {
      bits = random_bits(seed, mix(stream + retry), index);
      product = (unsigned __int128)(bits)*n;
    }
  }
  return uint64_t(product >> 64);
}

}  // namespace hadal
