// A text as rules of quality see it: characters (code points; a byte that is no UTF-8 counts as one), lines, and words.
// A word is a run of letters, marks and digits, with apostrophes between two of them inside; any other character that
// is no white space is a word of its own. Libraries of other programs split some words elsewhere (contractions, numbers
// with points, addresses): rules differ by as much.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/character_kinds.h"

namespace hadal::data {

struct WordSpan {
  int64_t begin = 0, end = 0;  // characters
  uint64_t hash = 0;           // sum of (character + 1) * kHashBase^(characters behind it), modulo 2^64
  uint64_t power = 1;          // kHashBase^size: a word in front of a text of this hash moves up by so much
  bool has_letter = false, symbols_alone = false;
  int64_t size() const { return end - begin; }
};

inline constexpr uint64_t kHashBase = 0x9e3779b97f4a7c15ull;

std::vector<uint32_t> characters_of(std::string_view text);
std::vector<WordSpan> words_of(const std::vector<uint32_t>& characters);

inline bool is_space(uint32_t c) {  // white space, and the separators U+001C to U+001F
  constexpr uint64_t kSpaces = uint64_t(0x1F) << 0x09 | uint64_t(0x1F) << 0x1C;  // up to ' '
  return c < 0x80 ? c <= ' ' && (kSpaces >> c & 1) : is_white_space(c);
}
inline bool is_line_end(uint32_t c) {        // \n \r \v \f, U+001C to U+001E, U+0085, U+2028, U+2029
  if (c - 0x1F < 0x85 - 0x1F) return false;  // most of all
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}
bool ends_sentence(uint32_t character);             // the marks that end sentences, of all scripts
using CharacterSpan = std::pair<int64_t, int64_t>;  // begin, end
// Lines as Python's splitlines() tells them: none behind the last line's end.
std::vector<CharacterSpan> lines_of(const std::vector<uint32_t>& characters);
CharacterSpan stripped(const std::vector<uint32_t>& characters, CharacterSpan span);  // of white space at both ends

// A text, split once for all who look at it.
struct SplitText {
  explicit SplitText(std::string_view text) : characters(characters_of(text)) {}
  const std::vector<WordSpan>& words() const {  // when they are asked for first
    if (!split_) words_ = words_of(characters), split_ = true;
    return words_;
  }
  const std::vector<uint32_t> characters;

 private:
  mutable std::vector<WordSpan> words_;
  mutable bool split_ = false;
};

uint64_t hash_of(const std::vector<uint32_t>& characters, CharacterSpan span);

}  // namespace hadal::data
