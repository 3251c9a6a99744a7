// Hashes: SHA-256 (FIPS 180-4) for content that must be told apart for ever (shards, checkpoints, manifests), and a
// fast 64-bit one (multiply-fold over 16-byte pieces; not cryptographic) for documents and tables. Both stable across
// machines.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace hadal {

class Sha256 {
 public:
  Sha256();
  void update(const void* data, size_t bytes);
  void update(std::string_view text) { update(text.data(), text.size()); }
  std::array<uint8_t, 32> digest();  // once, at the end
  std::string hex();                 // digest() as 64 lower-case characters

 private:
  void block(const uint8_t* data);
  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> buffer_;
  uint64_t length_ = 0;
};

std::string sha256_hex(std::string_view data);
uint64_t hash64(std::string_view data, uint64_t seed = 0);

}  // namespace hadal
