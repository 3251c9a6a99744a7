// C4's rules for lines: what is left of a document when those that fail are cut out.
#pragma once
#include <string>
#include <string_view>

#include "config/rules_config.h"

namespace hadal::data {

struct C4Lines {
  std::string text;  // lines that stay, without white space at their ends
  int64_t sentences = 0;
  bool lorem_ipsum = false, brackets = false;  // in a line that no rule before had cut
};
C4Lines c4_lines(std::string_view text, const C4Config& limits);

}  // namespace hadal::data
