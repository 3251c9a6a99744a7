// Writing the head of a GGUF file; see gguf_file.h.
#include "storage/gguf_file.h"

#include <bit>

#include "base/error.h"
#include "storage/gguf_blocks.h"

namespace hadal {

static_assert(std::endian::native == std::endian::little, "GGUF is little-endian");

namespace {

constexpr uint32_t kVersion = 3, kString = 8, kArray = 9, kInt32 = 5;

template <class T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

uint64_t aligned(uint64_t offset) { return (offset + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment; }

}  // namespace

void GgufKeys::text(std::string_view value) {
  raw(uint64_t(value.size()));
  bytes_.append(value);
}

void GgufKeys::begin(std::string_view key, uint32_t type) {
  text(key);
  raw(type);
  ++count_;
}

void GgufKeys::add_string(std::string_view key, std::string_view value) {
  begin(key, kString);
  text(value);
}

void GgufKeys::add_strings(std::string_view key, const std::vector<std::string>& values) {
  begin(key, kArray);
  raw(kString);
  raw(uint64_t(values.size()));
  for (const std::string& value : values) text(value);
}

void GgufKeys::add_i32s(std::string_view key, const std::vector<int32_t>& values) {
  begin(key, kArray);
  raw(kInt32);
  raw(uint64_t(values.size()));
  for (int32_t value : values) raw(value);
}

uint64_t gguf_bytes(GgufType type, int64_t count) {
  switch (type) {
    case GgufType::f32: return uint64_t(count) * 4;
    case GgufType::f16:
    case GgufType::bf16: return uint64_t(count) * 2;
    case GgufType::q8_0: return uint64_t(count / kGgufBlock * kQ8BlockBytes);
    case GgufType::q4_0: return uint64_t(count / kGgufBlock * kQ4BlockBytes);
  }
  fail(ErrorKind::internal, "unknown GGUF type {}", uint32_t(type));
}

std::string gguf_prefix(const GgufKeys& keys, std::vector<GgufEntry>& entries) {
  std::string bytes = "GGUF";
  append(bytes, kVersion);
  append(bytes, uint64_t(entries.size()));
  append(bytes, keys.count());
  bytes += keys.bytes();
  uint64_t offset = 0;
  for (GgufEntry& entry : entries) {
    entry.offset = offset;
    offset = aligned(offset + entry.bytes);
    append(bytes, uint64_t(entry.name.size()));
    bytes += entry.name;
    append(bytes, uint32_t(entry.shape.size()));
    for (size_t i = entry.shape.size(); i-- > 0;) append(bytes, uint64_t(entry.shape[i]));
    append(bytes, uint32_t(entry.type));
    append(bytes, entry.offset);
  }
  bytes.resize(aligned(bytes.size()), '\0');
  return bytes;
}

}  // namespace hadal
