// The beginning of a text in one line, for people.
#pragma once
#include <string>
#include <string_view>

namespace hadal::data {

// At most `bytes` of it, whole characters; control characters are blanks.
inline std::string one_line(std::string_view text, size_t bytes = 160) {
  std::string line(text.substr(0, bytes));
  while (!line.empty() && line.size() < text.size() && (text[line.size()] & 0xC0) == 0x80) line.pop_back();
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  return line + (text.size() > line.size() ? " …" : "");
}

}  // namespace hadal::data
