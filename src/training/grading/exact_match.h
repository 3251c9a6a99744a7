// exact_match: whether an answer is the expected one letter by letter, behind what is to be ignored (lm-eval's options
// of this name, in its order: expressions, case, punctuation, digits).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "grading/pattern.h"

namespace hadal::grading {

class ExactMatch {
 public:
  struct Options {
    bool ignore_case = false;
    bool ignore_punctuation = false;  // ASCII's, as Python's string.punctuation
    bool ignore_numbers = false;      // ASCII's digits
    std::vector<std::string> regexes_to_ignore;
  };
  explicit ExactMatch(const Options& options);  // throws invalid for an expression that is none
  std::string normalised(std::string_view text) const;
  bool equal(std::string_view answer, std::string_view expected) const;

 private:
  Options options_;
  std::vector<Pattern> ignored_;
};

}  // namespace hadal::grading
