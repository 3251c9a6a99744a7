#include "text/split_pattern.h"

#include "base/error.h"

namespace hadal {
namespace {

// The White_Space property, as the inside of a class.
constexpr std::string_view kSpace = "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

}  // namespace

std::string split_pattern_for_pcre2(std::string_view expression) {
  std::string out;
  bool in_class = false;
  auto refuse = [&](std::string_view what) {
    fail(ErrorKind::unsupported, "split expression '{}' uses {}, which is not supported", expression, what);
  };
  for (size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c == '\\' && i + 1 < expression.size()) {
      const char next = expression[++i];
      if (next == 's') {
        out += in_class ? std::string(kSpace) : "[" + std::string(kSpace) + "]";
      } else if (next == 'S') {
        if (in_class) refuse("\\S inside a class");
        out += "[^" + std::string(kSpace) + "]";
      } else if (next == 'w' || next == 'W' || next == 'b' || next == 'B' || next == 'h' || next == 'H' || next == 'R' ||
                 next == 'X') {
        refuse(std::string("\\") + next);
      } else {
        out += c;
        out += next;
      }
      continue;
    }
    if (in_class) {
      if (c == '[') refuse("a class inside a class");
      if (c == '&' && i + 1 < expression.size() && expression[i + 1] == '&') refuse("&& inside a class");
      if (c == ']') in_class = false;
    } else if (c == '[') {
      in_class = true;
      out += c;
      if (i + 1 < expression.size() && expression[i + 1] == '^') out += expression[++i];
      continue;
    }
    out += c;
  }
  return out;
}

}  // namespace hadal
