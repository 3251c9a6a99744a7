// What was taken from a text as its answer, and how.
#pragma once
#include <string>

namespace hadal::grading {

struct Extracted {
  std::string answer;
  bool found = true;  // no fallback was taken
  std::string why;    // one line for people
};

}  // namespace hadal::grading
