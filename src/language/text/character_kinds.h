// What characters are, by PCRE2's tables and the additions to them (unicode_additions.h): a table by code point, made
// once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace hadal {

// What a character is to the expressions.
enum class CharacterKind : uint8_t {
  other,        // controls, formats, private use, unassigned
  number,       // \p{N}
  letter,       // \p{L}
  mark,         // \p{M}
  punctuation,  // \p{P} and \p{S}
  line_end,     // \r \n
  blank,        // other white space
  border,       // no character: where the text of an expression ends
};

class CharacterKinds {
 public:
  // Kinds of code points below kKnown; from there on all are `other`.
  static constexpr uint32_t kKnown = 0x40000, kTagsBegin = 0xE0100,
                            kTagsEnd = 0xE01F0;  // variation selectors are marks
  explicit CharacterKinds(const std::vector<CharacterKind>& by_code_point);

  CharacterKind of(uint32_t code_point) const {
    if (code_point < kKnown) return blocks_[size_t(block_of_[code_point >> 7]) << 7 | (code_point & 127)];
    return code_point >= kTagsBegin && code_point < kTagsEnd ? CharacterKind::mark : CharacterKind::other;
  }
  // The characters of the second expression, letters or not.
  static bool han_kana(uint32_t code_point) {
    return (code_point - 0x4E00 <= 0x9FA5 - 0x4E00) || (code_point - 0x3040 <= 0x30FF - 0x3040);
  }

 private:
  std::vector<uint16_t> block_of_;
  std::vector<CharacterKind> blocks_;  // of 128 code points, equal ones shared
};

const CharacterKinds& character_kinds();

// \w of Rust's regular expressions: Alphabetic, M, Nd, Pc and the two joiners (single_word of added tokens asks for
// it).
bool is_word_character(uint32_t code_point);
bool is_white_space(uint32_t code_point);  // the White_Space property

int pcre2_unicode_major();  // version of the Unicode tables that PCRE2 was built with

}  // namespace hadal
