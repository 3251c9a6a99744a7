// The number that an expression is where its variables have given values: exact (a fraction of whole numbers of any
// size, up to a limit) as long as roots, powers and functions allow it, else to 113 bits.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grading/maths_value.h"

namespace hadal::grading {

// Of what an expression is; holds numbers of a library that is included in one file alone.
class MathsNumber {
 public:
  MathsNumber();
  ~MathsNumber();
  MathsNumber(MathsNumber&&) noexcept;
  MathsNumber& operator=(MathsNumber&&) noexcept;

  bool exact() const;
  bool equals(const MathsNumber& other) const;
  // Whether this number times `factor` is the other one.
  static bool proportional(const std::vector<MathsNumber>& a, const std::vector<MathsNumber>& b, bool same_sign);
  bool is_zero() const;

  struct Value;
  std::unique_ptr<Value> value;
};

// The value at a point: variable i of the sorted names has the i-th number of the point. Nothing where it is undefined
// (a division by zero, a logarithm of nothing), too large, or no number at all (a set, words).
std::optional<MathsNumber> evaluate_maths(const MathsNode& node, const std::vector<std::string>& names, int point);
constexpr int kMathsPoints = 10;

// Names of variables in an expression, sorted; false where something stands in it that is no number.
bool variables_of(const MathsNode& node, std::vector<std::string>& names);

}  // namespace hadal::grading
