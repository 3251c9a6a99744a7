// Cuts a template into text and the tokens of its tags, with the white space rules that transformers sets for Jinja
// (of templates of texts with Jinja's own, by which nothing goes but at "-"):
// the first line end behind a block tag goes (trim_blocks), blanks before a block tag that begins its line go
// (lstrip_blocks), "-" eats all white space on its side, "+" none. Errors: corrupt, with the line, for unclosed tags,
// strings and brackets, unknown characters, malformed UTF-8.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/limits.h"

namespace hadal::jinja {

enum class TokenKind : std::uint8_t {
  text,
  print_begin,
  print_end,
  block_begin,
  block_end,
  name,
  string,
  integer,
  real,
  sign,
  end
};

struct Token {
  TokenKind kind = TokenKind::end;
  int line = 0;
  std::string value;    // a string's content, unescaped; numbers without underscores
  std::string refused;  // an escape of a string that we do not know
};

std::vector<Token> cut_template(std::string_view source, TemplateStyle style);

[[noreturn]] void corrupt_template(int line, const std::string& what);

}  // namespace hadal::jinja
