// Hashes. SHA-256 (OpenSSL's, with the CPU's instructions) for content that must be told apart for ever: texts, shards,
// tokenizers. XXH3 in 128 bits, at the speed of memory, for files that are only to be known undamaged: checkpoints. A
// 64-bit one (multiply-fold over 16-byte pieces) for documents and tables. All are stable across machines.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace hadal {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(const void* data, size_t bytes);
  void update(std::string_view text) { update(text.data(), text.size()); }
  std::array<uint8_t, 32> digest();  // once, at the end
  std::string hex();                 // digest() as 64 lower-case characters

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::string_view data);
std::string xxh3_128_hex(std::string_view data);  // 32 lower-case characters, as `xxhsum -H2` prints them
uint64_t hash64(std::string_view data, uint64_t seed = 0);

}  // namespace hadal
