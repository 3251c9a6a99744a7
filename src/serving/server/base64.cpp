#include "server/base64.h"

#include <cstdint>

namespace hadal {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string out;
  uint32_t bits = 0;
  int n = 0;
  for (const char byte : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(byte);
    for (n += 8; n >= 6; n -= 6) out.push_back(kLetters[bits >> (n - 6) & 63]);
  }
  if (n > 0) out.push_back(kLetters[bits << (6 - n) & 63]);
  while (out.size() % 4 != 0) out.push_back('=');
  return out;
}

std::string from_base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int n = 0;
  for (const char letter : text) {
    const size_t value = kLetters.find(letter);
    if (value == std::string_view::npos) break;
    bits = bits << 6 | uint32_t(value);
    if ((n += 6) < 8) continue;
    n -= 8;
    out.push_back(char(bits >> n & 0xFF));
  }
  return out;
}

}  // namespace hadal
