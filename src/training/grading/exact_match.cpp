#include "grading/exact_match.h"

#include <algorithm>

#include "grading/filters.h"

namespace hadal::grading {

ExactMatch::ExactMatch(const Options& options) : options_(options) {
  for (const std::string& expression : options.regexes_to_ignore) ignored_.emplace_back(expression);
}

std::string ExactMatch::normalised(std::string_view text) const {
  std::string out(text);
  for (const Pattern& pattern : ignored_) out = pattern.without_matches(out);
  if (options_.ignore_case) out = python_lower(out);
  const auto drop = [&](std::string_view characters) {
    std::erase_if(out, [&](char c) { return characters.find(c) != std::string_view::npos; });
  };
  if (options_.ignore_punctuation) drop("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");
  if (options_.ignore_numbers) drop("0123456789");
  return out;
}

bool ExactMatch::equal(std::string_view answer, std::string_view expected) const {
  return normalised(answer) == normalised(expected);
}

}  // namespace hadal::grading
