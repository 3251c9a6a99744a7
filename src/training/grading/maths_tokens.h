// Pieces of a cleaned answer: numbers, letters, words, commands, signs.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::grading {

enum class MathsTokenKind : uint8_t { number, letter, words, command, sign, end };

struct MathsToken {
  MathsTokenKind kind = MathsTokenKind::end;
  std::string text;  // a number without marks of thousands; of \text{...} what stands in it
  bool space_before = false;
};

// False where something stands that no answer has: control characters, bytes outside of ASCII in formulas, unclosed
// \text. The last token is `end`.
bool cut_maths(std::string_view text, std::vector<MathsToken>& tokens);

bool is_function_name(std::string_view name);  // sin, ln, ...
bool is_unit(std::string_view word);           // cm, kg, ...: letters that are no product of variables

}  // namespace hadal::grading
