// The libraries behind hash.h, and the 64-bit hash.
#include "base/hash.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace hadal {
namespace {

uint64_t fold(uint64_t a, uint64_t b) {
  const unsigned __int128 product = (unsigned __int128)(a)*b;
  return uint64_t(product) ^ uint64_t(product >> 64);
}

uint64_t little_endian(const char* p, size_t bytes) {
  uint64_t value = 0;
  if (std::endian::native == std::endian::little && bytes == 8) {
    std::memcpy(&value, p, 8);
    return value;
  }
  for (size_t i = 0; i < bytes; ++i) value |= uint64_t(uint8_t(p[i])) << (8 * i);
  return value;
}

}  // namespace

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  check(state_->context != nullptr && EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1,
        ErrorKind::internal, "SHA-256 does not start");
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(const void* data, size_t bytes) {
  if (bytes == 0) return;  // data may be null
  check(EVP_DigestUpdate(state_->context, data, bytes) == 1, ErrorKind::internal, "SHA-256 does not go on");
}

std::array<uint8_t, 32> Sha256::digest() {
  std::array<uint8_t, 32> out{};
  check(EVP_DigestFinal_ex(state_->context, out.data(), nullptr) == 1, ErrorKind::internal, "SHA-256 does not end");
  return out;
}

std::string Sha256::hex() {
  std::string text;
  for (uint8_t byte : digest()) text += fmt::format("{:02x}", byte);
  return text;
}

std::string sha256_hex(std::string_view data) {
  Sha256 hash;
  hash.update(data);
  return hash.hex();
}

std::string xxh3_128_hex(std::string_view data) {
  const XXH128_hash_t hash = XXH3_128bits(data.data(), data.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

uint64_t hash64(std::string_view data, uint64_t seed) {
  constexpr uint64_t kA = 0x9e3779b97f4a7c15ull, kB = 0xd1b54a32d192ed03ull, kC = 0x8cb92ba72f3d8dd7ull;
  uint64_t state = fold(seed ^ kA, kB ^ data.size());
  const char* p = data.data();
  size_t left = data.size();
  for (; left >= 16; p += 16, left -= 16) {
    state = fold(little_endian(p, 8) ^ kA ^ state, little_endian(p + 8, 8) ^ kB);
  }
  const size_t low = std::min<size_t>(left, 8);
  state = fold(little_endian(p, low) ^ kB ^ state, little_endian(p + low, left - low) ^ kC);
  return fold(state ^ kC, kA ^ data.size());
}

}  // namespace hadal
