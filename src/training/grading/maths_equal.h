// Whether two mathematical answers are the same, exactly: fractions as fractions (0.333333 is not 1/3), roots as roots,
// expressions by their values at ten fixed points, in fractions where they have no functions and to 113 bits where they
// do. The gold answer decides the form: an inequality accepts its interval, an interval no inequality. Bounded in time
// and memory whatever stands in the texts; what cannot be decided is not equal.
#pragma once
#include <string>
#include <string_view>

namespace hadal::grading {

enum class MathsVerdict { equal, different, undecided };  // undecided: one of the two is no answer that can be read

MathsVerdict compare_maths(std::string_view gold, std::string_view answer);
bool readable_maths(std::string_view answer);
inline bool maths_equal(std::string_view gold, std::string_view answer) {
  return compare_maths(gold, answer) == MathsVerdict::equal;
}

}  // namespace hadal::grading
