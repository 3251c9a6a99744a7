// UTF-8 as the standard defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace hadal {

// Length of the well-formed sequence at `at`, or 0 if the byte there starts none.
inline int utf8_length(const char* at, const char* end) {
  auto byte = [&](int i) { return static_cast<unsigned char>(at[i]); };
  auto tail = [&](int i) { return (byte(i) & 0xC0) == 0x80; };
  const int64_t left = end - at;
  if (left <= 0) return 0;
  const unsigned char b = byte(0);
  if (b < 0x80) return 1;
  if (b < 0xC2) return 0;
  if (b < 0xE0) return left >= 2 && tail(1) ? 2 : 0;
  if (b < 0xF0) {
    if (left < 3 || !tail(1) || !tail(2)) return 0;
    if ((b == 0xE0 && byte(1) < 0xA0) || (b == 0xED && byte(1) > 0x9F)) return 0;
    return 3;
  }
  if (b < 0xF5) {
    if (left < 4 || !tail(1) || !tail(2) || !tail(3)) return 0;
    if ((b == 0xF0 && byte(1) < 0x90) || (b == 0xF4 && byte(1) > 0x8F)) return 0;
    return 4;
  }
  return 0;
}

// Writes a code point (no surrogate) and returns the place behind it, at most four bytes on.
inline char* write_utf8(char* out, uint32_t c) {
  if (c < 0x80) {
    *out++ = char(c);
  } else if (c < 0x800) {
    *out++ = char(0xC0 | c >> 6), *out++ = char(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    *out++ = char(0xE0 | c >> 12), *out++ = char(0x80 | (c >> 6 & 0x3F)), *out++ = char(0x80 | (c & 0x3F));
  } else {
    *out++ = char(0xF0 | c >> 18), *out++ = char(0x80 | (c >> 12 & 0x3F));
    *out++ = char(0x80 | (c >> 6 & 0x3F)), *out++ = char(0x80 | (c & 0x3F));
  }
  return out;
}

inline void append_utf8(std::string& out, uint32_t c) {  // a code point, no surrogate
  char bytes[4];
  out.append(bytes, size_t(write_utf8(bytes, c) - bytes));
}

// The code point of a well-formed sequence of this length.
inline uint32_t utf8_decode(const char* at, int length) {
  auto byte = [&](int i) { return uint32_t(static_cast<unsigned char>(at[i])); };
  switch (length) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1F) << 6 | (byte(1) & 0x3F);
    case 3: return (byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
    default: return (byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
  }
}

// Number of leading bytes of `text` that are well-formed UTF-8.
inline int64_t utf8_valid_prefix(std::string_view text) {
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    uint64_t eight;
    while (end - at >= 8) {
      std::memcpy(&eight, at, 8);
      if (eight & 0x8080808080808080ull) break;
      at += 8;
    }
    if (at == end) break;
    const int length = utf8_length(at, end);
    if (length == 0) break;
    at += length;
  }
  return at - text.data();
}

}  // namespace hadal
