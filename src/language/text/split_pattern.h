// Split expressions of tokenizer.json are written for Oniguruma (Ruby's syntax); we run them on PCRE2. Where both
// differ the expression is rewritten (white space: PCRE2 counts U+180E; \p{...}, \d: characters that older Unicode
// tables lack; scripts: PCRE2 means their extensions; \v, \uHHHH, {,n}; && in a class, classes and negated sets in
// another class: the characters are worked out) or refused by name (\w \b \h and other escapes, [:name:], named and
// option groups but (?i: ), a{1,2}+), so that no file is silently cut in another way than by its makers.
#pragma once
#include <string>
#include <string_view>

namespace hadal {

// Unicode whose characters every expression knows after rewriting.
constexpr int kUnicodeMajor = 16;

// unicode_major: of PCRE2's tables, e.g. 14; below kUnicodeMajor the expression gets the characters that they lack, if
// `additions` asks for them.
std::string split_pattern_for_pcre2(std::string_view expression, int unicode_major, bool additions);

// Whether well-formed UTF-8 holds a character that was added, or one close to it: false for nearly all text.
bool may_hold_unicode_addition(std::string_view text);

}  // namespace hadal
