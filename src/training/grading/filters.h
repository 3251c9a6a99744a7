// Filters: what is taken from a text as its answer, in lm-eval's terms. A pipeline of them turns what a model wrote
// into the text that is compared; each step may be one of:
//   regex (regex_pattern, group_select, fallback), remove_whitespace, lowercase, uppercase, map (mapping_dict,
//   default_value), maths_answer (this project's own), take_first (does nothing: every sample is graded).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "grading/extracted.h"
#include "grading/pattern.h"

namespace hadal::grading {

struct Filter {
  enum class Kind { regex, strip, lower, upper, map, maths, take_first };
  Kind kind = Kind::take_first;
  std::string pattern;   // regex
  int64_t select = 0;    // which of its matches; negative from the end
  std::string fallback;  // where there is none, or of a map: for a text that it does not know
  std::vector<std::pair<std::string, std::string>> map;
};

class FilterPipeline {
 public:
  // Throws invalid for an expression that is none.
  FilterPipeline(std::string name, std::vector<Filter> filters);
  const std::string& name() const { return name_; }
  Extracted apply(std::string_view text) const;

 private:
  void step(const Filter& filter, const Pattern* pattern, Extracted& value) const;

  std::string name_;
  std::vector<Filter> filters_;
  std::vector<Pattern> patterns_;  // of the regex steps, in their order
};

std::string python_strip(std::string_view text);
std::string python_lower(std::string_view text);
std::string python_upper(std::string_view text);

}  // namespace hadal::grading
