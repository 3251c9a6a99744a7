#include "text/byte_alphabet.h"

#include <algorithm>

#include "base/utf8.h"

namespace hadal {

ByteAlphabet::ByteAlphabet() {
  byte_of.fill(-1);
  uint16_t next = 256;
  for (int b = 0; b < 256; ++b) {
    const bool visible = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
    character[b] = visible ? uint16_t(b) : next++;
    byte_of[character[b]] = int16_t(b);
    in_order[b] = uint8_t(b);
  }
  std::sort(in_order.begin(), in_order.end(), [this](uint8_t a, uint8_t b) { return character[a] < character[b]; });
}

std::string ByteAlphabet::write(std::string_view bytes) const {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (unsigned char b : bytes) {
    const uint16_t c = character[b];
    if (c < 0x80) {
      out += char(c);
    } else {
      out += char(0xC0 | c >> 6);
      out += char(0x80 | (c & 0x3F));
    }
  }
  return out;
}

std::optional<std::string> ByteAlphabet::read(std::string_view characters) const {
  std::string out(characters.size(), '\0');
  char* to = out.data();
  const char* at = characters.data();
  const char* end = at + characters.size();
  while (at < end) {
    const int length = uint8_t(*at) < 0x80 ? 1 : utf8_length(at, end);
    if (length == 0) return std::nullopt;
    const uint32_t c = length == 1 ? uint8_t(*at) : utf8_decode(at, length);
    if (c >= byte_of.size() || byte_of[c] < 0) return std::nullopt;
    *to++ = char(byte_of[c]);
    at += length;
  }
  out.resize(size_t(to - out.data()));
  return out;
}

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

}  // namespace hadal
