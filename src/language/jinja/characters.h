// Characters as Python's str sees them: white space, line ends, cases, classes.
#pragma once
#include <cstdint>
#include <string_view>

#include "jinja/marked_text.h"

namespace hadal::jinja {

uint32_t code_point(std::string_view character);
bool is_space(uint32_t c);     // str.isspace, also \s of Python's re
bool is_line_end(uint32_t c);  // what str.splitlines cuts at
bool is_printable(uint32_t c);
bool is_letter(uint32_t c);
bool is_decimal(uint32_t c);  // str.isdecimal
bool is_word(uint32_t c);     // \w of Python's re, but for '_': letters and numbers
bool is_cased(uint32_t c);    // has an upper or a lower case of its own
bool is_upper(uint32_t c);
bool is_lower(uint32_t c);

enum class Case { upper, lower, title, capitalize };  // title: every word's first letter; capitalize: the first alone
MarkedText with_case(const MarkedText& text, Case which);

// The bytes [begin, end) of the text without white space at the sides asked for.
std::pair<size_t, size_t> strip_range(std::string_view text, bool left, bool right);
std::pair<size_t, size_t> strip_range(std::string_view text, std::string_view characters, bool left, bool right);

// Like find and rfind of std::string, but in linear time whatever the texts are.
size_t find_bytes(std::string_view text, std::string_view what, size_t from);
size_t find_last_bytes(std::string_view text, std::string_view what);

}  // namespace hadal::jinja
