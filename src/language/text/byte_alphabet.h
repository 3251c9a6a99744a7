// The byte-level alphabet of tokenizer.json (GPT-2's byte-to-unicode table): every byte is written as one visible
// character. Bytes that print in Latin-1 stand for themselves, the other 68 are U+0100, U+0101, ... in byte order.
// Sorted by character the alphabet is !..~ (94), U+00A1..AC (12), U+00AE..FF (82), then the 68 others: that is the
// order of ids 3..258 (§2.1).
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hadal {

struct ByteAlphabet {
  ByteAlphabet();
  std::array<uint16_t, 256> character;  // code point of each byte
  std::array<uint8_t, 256> in_order;    // the bytes in order of their characters
  std::array<int16_t, 324> byte_of;     // byte of each code point below 324, -1 if it stands for none

  std::string write(std::string_view bytes) const;                     // bytes as characters, UTF-8
  std::optional<std::string> read(std::string_view characters) const;  // inverse; nothing if a character is foreign
};

const ByteAlphabet& byte_alphabet();

}  // namespace hadal
