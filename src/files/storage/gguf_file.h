// What stands before the data of a GGUF file (version 3, little-endian):
//   "GGUF"  u32 version  u64 tensors  u64 keys
//   keys:    string key, u32 type, value       (a string is u64 bytes, then its bytes; an array u32 type, u64 n,
//     values)
//   tensors: string name, u32 n_dims, u64 dims (fastest first), u32 type, u64 offset in the data
//   zeros up to a multiple of 32; the data begins there, each tensor at a multiple of 32
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace hadal {

constexpr uint64_t kGgufAlignment = 32;

enum class GgufType : uint32_t { f32 = 0, f16 = 1, q4_0 = 2, q8_0 = 8, bf16 = 30 };  // of tensors

class GgufKeys {
 public:
  void add_u16(std::string_view key, uint16_t value) { put(key, 2, value); }
  void add_u32(std::string_view key, uint32_t value) { put(key, 4, value); }
  void add_i32(std::string_view key, int32_t value) { put(key, 5, value); }
  void add_f32(std::string_view key, float value) { put(key, 6, value); }
  void add_bool(std::string_view key, bool value) { put(key, 7, uint8_t(value)); }
  void add_string(std::string_view key, std::string_view value);
  void add_strings(std::string_view key, const std::vector<std::string>& values);
  void add_i32s(std::string_view key, const std::vector<int32_t>& values);

  uint64_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  template <class T>
  void put(std::string_view key, uint32_t type, T value) {
    begin(key, type);
    raw(value);
  }
  template <class T>
  void raw(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void begin(std::string_view key, uint32_t type);
  void text(std::string_view value);

  std::string bytes_;
  uint64_t count_ = 0;
};

struct GgufEntry {
  std::string name;
  Shape shape;  // ours: slowest first
  GgufType type = GgufType::f32;
  uint64_t bytes = 0, offset = 0;  // offset is filled by gguf_prefix
};

uint64_t gguf_bytes(GgufType type, int64_t count);                               // of so many values, whole blocks
std::string gguf_prefix(const GgufKeys& keys, std::vector<GgufEntry>& entries);  // lays the entries out in order

}  // namespace hadal
