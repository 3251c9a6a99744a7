// Every operation asks for the size of what it would make before it makes it: no power, factorial or number of digits
// can take more than some microseconds.
#include "grading/maths_number.h"

#include <algorithm>
#include <boost/multiprecision/cpp_bin_float.hpp>
#include <boost/multiprecision/cpp_int.hpp>

namespace hadal::grading {

using Rational = boost::multiprecision::cpp_rational;
using Whole = boost::multiprecision::cpp_int;
using Real = boost::multiprecision::cpp_bin_float_quad;

namespace {

constexpr size_t kMostBits = 20'000;  // of a numerator or denominator
constexpr int64_t kMostFactorial = 500, kMostDigits = 1000;

size_t bits_of(const Whole& n) { return n == 0 ? 1 : size_t(msb(n < 0 ? Whole(-n) : n)) + 1; }
size_t bits_of(const Rational& n) { return std::max(bits_of(numerator(n)), bits_of(denominator(n))); }

}  // namespace

struct MathsNumber::Value {
  std::optional<Rational> exact;
  Real real = 0;
};

MathsNumber::MathsNumber() : value(std::make_unique<Value>()) {}
MathsNumber::~MathsNumber() = default;
MathsNumber::MathsNumber(MathsNumber&&) noexcept = default;
MathsNumber& MathsNumber::operator=(MathsNumber&&) noexcept = default;

bool MathsNumber::exact() const { return value->exact.has_value(); }

namespace {

using Value = MathsNumber::Value;
using Found = std::optional<Value>;

Found of_rational(Rational number) {
  if (bits_of(number) > kMostBits) return std::nullopt;
  Value value;
  value.real = Real(numerator(number)) / Real(denominator(number));
  value.exact = std::move(number);
  return value;
}
Found of_real(const Real& number) {
  if (!isfinite(number) || abs(number) > Real("1e4000")) return std::nullopt;
  Value value;
  value.real = number;
  return value;
}

bool near(const Real& a, const Real& b) {
  const Real size = std::max<Real>(std::max<Real>(abs(a), abs(b)), Real(1));
  return abs(a - b) <= size * Real("1e-25");
}

// A number against one that is known to 113 bits: no long decimal becomes a root or a fraction by being close to it.
bool near_exact(const Rational& exact, const Real& real) {
  constexpr int kMostDenominatorBits = 40;
  if (bits_of(denominator(exact)) > kMostDenominatorBits) return false;
  return near(Real(numerator(exact)) / Real(denominator(exact)), real);
}

bool same_number(const Value& a, const Value& b) {
  if (a.exact && b.exact) return *a.exact == *b.exact;
  if (a.exact) return near_exact(*a.exact, b.real);
  if (b.exact) return near_exact(*b.exact, a.real);
  return near(a.real, b.real);
}

Found literal(const std::string& text) {
  const size_t e = text.find_first_of("eE");
  const std::string digits = text.substr(0, e);
  if (int64_t(digits.size()) > kMostDigits) return std::nullopt;
  const size_t dot = digits.find('.');
  std::string whole = digits;
  int64_t shift = 0;
  if (dot != std::string::npos) whole.erase(dot, 1), shift = -int64_t(digits.size() - dot - 1);
  if (e != std::string::npos) {
    if (text.size() - e > 5) return std::nullopt;
    shift += std::stol(text.substr(e + 1));
  }
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
  const Whole number(whole.empty() ? "0" : whole);
  const Whole power = boost::multiprecision::pow(Whole(10), unsigned(std::abs(shift)));
  return of_rational(shift < 0 ? Rational(number, power) : Rational(number * power));
}

Found add(const Value& a, const Value& b) {
  if (a.exact && b.exact) return of_rational(*a.exact + *b.exact);
  return of_real(a.real + b.real);
}
Found multiply(const Value& a, const Value& b) {
  if (a.exact && b.exact) return of_rational(*a.exact * *b.exact);
  return of_real(a.real * b.real);
}
Found divide(const Value& a, const Value& b) {
  if (b.exact ? *b.exact == 0 : abs(b.real) < Real("1e-25")) return std::nullopt;
  if (a.exact && b.exact) return of_rational(*a.exact / *b.exact);
  return of_real(a.real / b.real);
}

// a^n of a whole n, where the result is not too large.
Found whole_power(const Rational& a, int64_t n) {
  if (a == 0) return n > 0 ? of_rational(0) : std::nullopt;  // 0^0 is undefined here
  if (a == 1 || (a == -1 && n % 2 == 0)) return of_rational(1);
  if (uint64_t(std::abs(n)) * bits_of(a) > kMostBits) return std::nullopt;
  const auto exponent = unsigned(std::abs(n));
  const Rational power(boost::multiprecision::pow(numerator(a), exponent),
                       boost::multiprecision::pow(denominator(a), exponent));
  return of_rational(n < 0 ? Rational(1 / power) : power);
}

// The root of a whole number where it is whole.
std::optional<Whole> whole_root(const Whole& n, unsigned degree) {
  if (n < 0) return std::nullopt;
  Whole low = 0, high = Whole(1) << (bits_of(n) / degree + 1);
  while (low < high) {
    const Whole middle = (low + high + 1) / 2;
    if (boost::multiprecision::pow(middle, degree) <= n)
      low = middle;
    else
      high = middle - 1;
  }
  return boost::multiprecision::pow(low, degree) == n ? std::optional(low) : std::nullopt;
}

Found root_of(const Value& a, int64_t degree) {
  if (degree < 1 || degree > 100) return std::nullopt;
  const bool negative = a.exact ? *a.exact < 0 : a.real < 0;
  if (negative && degree % 2 == 0) return std::nullopt;
  if (a.exact && bits_of(*a.exact) < 2000) {
    const Rational size = negative ? Rational(-*a.exact) : *a.exact;
    const auto above = whole_root(numerator(size), unsigned(degree)),
               below = whole_root(denominator(size), unsigned(degree));
    if (above && below) return of_rational(negative ? Rational(-*above, *below) : Rational(*above, *below));
  }
  const Real size = pow(Real(abs(a.real)), Real(1) / Real(degree));
  return of_real(negative ? Real(-size) : size);
}

Found power_of(const Value& a, const Value& b) {
  if (b.exact && denominator(*b.exact) == 1) {
    const Whole n = numerator(*b.exact);
    if (n > 100'000 || n < -100'000) return std::nullopt;
    if (a.exact) return whole_power(*a.exact, n.convert_to<int64_t>());
    if (a.real == 0 && n <= 0) return std::nullopt;
    return of_real(pow(a.real, Real(n)));
  }
  if (b.exact && denominator(*b.exact) <= 100) {  // a root, exact where it can be
    const Found root = root_of(a, denominator(*b.exact).convert_to<int64_t>());
    if (!root) return std::nullopt;
    Value numerator_value;
    numerator_value.exact = Rational(numerator(*b.exact));
    numerator_value.real = Real(numerator(*b.exact));
    return power_of(*root, numerator_value);
  }
  if (a.real <= 0) return std::nullopt;
  return of_real(exp(b.real * log(a.real)));
}

Found factorial_of(const Value& a) {
  if (!a.exact || denominator(*a.exact) != 1 || *a.exact < 0 || *a.exact > kMostFactorial) return std::nullopt;
  Whole product = 1;
  for (int64_t i = 2; i <= numerator(*a.exact).convert_to<int64_t>(); ++i) product *= i;
  return of_rational(Rational(product));
}

const Real& pi() {
  static const Real value("3.14159265358979323846264338327950288419716939937510582097494459");
  return value;
}

Found function_of(const std::string& name, const Value& x, const Found& second) {
  if (name == "abs") {
    if (x.exact) return of_rational(abs(*x.exact));
    return of_real(abs(x.real));
  }
  if (abs(x.real) > Real(1'000'000)) return std::nullopt;
  if (name == "sin") return of_real(sin(x.real));
  if (name == "cos") return of_real(cos(x.real));
  if (name == "tan") return of_real(tan(x.real));
  if (name == "cot") return sin(x.real) == 0 ? std::nullopt : of_real(cos(x.real) / sin(x.real));
  if (name == "sec") return cos(x.real) == 0 ? std::nullopt : of_real(1 / cos(x.real));
  if (name == "csc") return sin(x.real) == 0 ? std::nullopt : of_real(1 / sin(x.real));
  if (name == "arcsin" || name == "arccos") {
    if (abs(x.real) > 1) return std::nullopt;
    return of_real(name == "arcsin" ? Real(asin(x.real)) : Real(acos(x.real)));
  }
  if (name == "arctan") return of_real(atan(x.real));
  if (name == "sinh") return of_real(sinh(x.real));
  if (name == "cosh") return of_real(cosh(x.real));
  if (name == "tanh") return of_real(tanh(x.real));
  if (name == "exp") return of_real(exp(x.real));
  if (name == "sqrt") return root_of(x, 2);
  if (x.real <= 0) return std::nullopt;
  if (name == "ln") return of_real(log(x.real));
  if (second && (second->real <= 0 || second->real == 1)) return std::nullopt;
  return of_real(log(x.real) / log(second ? second->real : Real(10)));
}

// The values of variables at a point: fractions of both signs that no answer is about.
Rational value_at(size_t variable, int point) {
  static constexpr int64_t kPrimes[] = {1009, 1013, 1019, 1021, 1031, 1033, 1039, 1049, 1051, 1061};
  const int64_t denominator = kPrimes[size_t(point) % std::size(kPrimes)];
  const int64_t numerator = 257 + 389 * int64_t(point) + 613 * int64_t(variable) * int64_t(point + 3) % 2711;
  const bool negative = (point + int(variable)) % 3 == 2;
  return Rational(negative ? -numerator : numerator, denominator);
}

class Evaluator {
 public:
  Evaluator(const std::vector<std::string>& names, int point) : names_(names), point_(point) {}

  Found value(const MathsNode& node) const {
    switch (node.kind) {
      case MathsKind::number: return literal(node.text);
      case MathsKind::name: return name(node.text);
      case MathsKind::unit: return value(*node.parts[0]);
      case MathsKind::negative: {
        const Found inside = value(*node.parts[0]);
        return inside ? multiply(*inside, *of_rational(-1)) : std::nullopt;
      }
      case MathsKind::percent: {
        const Found inside = value(*node.parts[0]);
        return inside ? divide(*inside, *of_rational(100)) : std::nullopt;
      }
      case MathsKind::factorial: {
        const Found inside = value(*node.parts[0]);
        return inside ? factorial_of(*inside) : std::nullopt;
      }
      case MathsKind::sum:
      case MathsKind::product:
      case MathsKind::quotient:
      case MathsKind::power: return binary(node);
      case MathsKind::root: {
        const Found inside = value(*node.parts[0]);
        if (node.parts.size() == 1) return inside ? root_of(*inside, 2) : std::nullopt;
        const Found degree = value(*node.parts[1]);
        if (!inside || !degree || !degree->exact || denominator(*degree->exact) != 1) return std::nullopt;
        if (abs(*degree->exact) > 1000) return std::nullopt;
        return root_of(*inside, numerator(*degree->exact).convert_to<int64_t>());
      }
      case MathsKind::function: {
        const Found inside = value(*node.parts[0]);
        const Found second = node.parts.size() > 1 ? value(*node.parts[1]) : std::nullopt;
        if (!inside || (node.parts.size() > 1 && !second)) return std::nullopt;
        return function_of(node.text, *inside, second);
      }
      default: return std::nullopt;
    }
  }

 private:
  Found binary(const MathsNode& node) const {
    const Found a = value(*node.parts[0]), b = value(*node.parts[1]);
    if (!a || !b) return std::nullopt;
    switch (node.kind) {
      case MathsKind::sum: return add(*a, *b);
      case MathsKind::product: return multiply(*a, *b);
      case MathsKind::quotient: return divide(*a, *b);
      default: return power_of(*a, *b);
    }
  }

  Found name(const std::string& text) const {
    if (text == "\\pi") return of_real(pi());
    if (text == "e") return of_real(exp(Real(1)));
    const auto at = std::lower_bound(names_.begin(), names_.end(), text);
    if (at == names_.end() || *at != text) return std::nullopt;
    return of_rational(value_at(size_t(at - names_.begin()), point_));
  }

  const std::vector<std::string>& names_;
  const int point_;
};

}  // namespace

bool MathsNumber::equals(const MathsNumber& other) const { return same_number(*value, *other.value); }

bool MathsNumber::is_zero() const { return value->exact ? *value->exact == 0 : abs(value->real) < Real("1e-25"); }

bool MathsNumber::proportional(const std::vector<MathsNumber>& a, const std::vector<MathsNumber>& b, bool same_sign) {
  const auto first = std::find_if(a.begin(), a.end(), [](const MathsNumber& n) { return !n.is_zero(); });
  if (first == a.end()) return std::all_of(b.begin(), b.end(), [](const MathsNumber& n) { return n.is_zero(); });
  const Value& above = *b[size_t(first - a.begin())].value;
  const Found factor = divide(above, *first->value);
  if (!factor || factor->real == 0 || (same_sign && factor->real < 0)) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const Found scaled = multiply(*a[i].value, *factor);
    if (!scaled || !same_number(*scaled, *b[i].value)) return false;
  }
  return true;
}

std::optional<MathsNumber> evaluate_maths(const MathsNode& node, const std::vector<std::string>& names, int point) {
  Found found = Evaluator(names, point).value(node);
  if (!found) return std::nullopt;
  MathsNumber number;
  *number.value = std::move(*found);
  return number;
}

bool variables_of(const MathsNode& node, std::vector<std::string>& names) {
  switch (node.kind) {
    case MathsKind::number:
    case MathsKind::sum:
    case MathsKind::product:
    case MathsKind::quotient:
    case MathsKind::negative:
    case MathsKind::power:
    case MathsKind::root:
    case MathsKind::factorial:
    case MathsKind::function:
    case MathsKind::percent:
    case MathsKind::unit: break;
    case MathsKind::name:
      if (node.text == "\\infty") return false;
      if (node.text != "\\pi" && node.text != "e" && std::find(names.begin(), names.end(), node.text) == names.end())
        names.insert(std::lower_bound(names.begin(), names.end(), node.text), node.text);
      break;
    default: return false;
  }
  return std::all_of(node.parts.begin(), node.parts.end(),
                     [&](const MathsPtr& part) { return variables_of(*part, names); });
}

}  // namespace hadal::grading
