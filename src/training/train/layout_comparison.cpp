#include "train/layout_comparison.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "nn/box_view.h"

namespace hadal {
namespace {

using Numbers = std::vector<double>;

double norm(const Numbers& numbers) {
  double sum = 0;
  for (const double x : numbers) sum += x * x;
  return std::sqrt(sum);
}

// Relative to what is wanted, or to `least`, if that is larger.
double distance(const Numbers& wanted, const Numbers& found, double least) {
  if (wanted.size() != found.size()) return INFINITY;
  Numbers difference(wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) difference[i] = wanted[i] - found[i];
  const double absolute = norm(difference);
  if (!(absolute > 0)) return std::isnan(absolute) ? INFINITY : 0;
  const double size = std::max(norm(wanted), least);
  return size > 0 ? absolute / size : INFINITY;
}

// A quantity of a step, and how far the layout's is from what is wanted.
struct Difference {
  std::string parameter;
  int64_t step = 0;
  double found = 0, of_one = 0;  // the layout's distance, and the one rank's, where that is not what is wanted
  double limit = INFINITY;       // beyond it the layout's differs

  bool differs() const { return found > limit; }
  std::string place() const {
    return parameter.empty() ? fmt::format("step {}", step) : fmt::format("{}, step {}", parameter, step);
  }
};

// Quantities in the order in which a step makes them, step after step: the first that differs is the nearest to the
// cause.
class Comparison {
 public:
  explicit Comparison(Precision precision) : precision_(precision) {}

  // The largest norm of each kind in a step. What is far smaller may be nothing but rounding (the gradient of a router
  // that chooses one expert, whose weight is then 1): its distance is taken relative to a small share of the largest.
  void begin_step(const StepRecord& one) {
    ++step_;
    largest_.clear();
    for (const StepQuantity& quantity : one.quantities) {
      double& largest = largest_[quantity.kind];
      largest = std::max(largest, norm(quantity.numbers));
    }
  }

  // exact: what both are held against where roundings of the precision itself are large; null: the one rank is exact.
  void compare(const std::string& kind, const std::string& parameter, const Numbers& one, const Numbers& many,
               const Numbers* exact) {
    const double least = largest_[kind] * (precision_ == Precision::fp64 ? 1e-4 : 1e-2);
    Difference difference{parameter, step_, distance(exact ? *exact : one, many, least)};
    if (exact) {
      difference.of_one = distance(*exact, one, least);
    } else {  // each step begins from weights in which the roundings of those before have left something
      difference.limit = double(step_) * limit_of(kind);
    }
    const auto found = std::find_if(kinds_.begin(), kinds_.end(), [&](const Kind& k) { return k.name == kind; });
    Kind& own = found != kinds_.end() ? *found : kinds_.emplace_back(Kind{kind, {}});
    order_.emplace_back(size_t(&own - kinds_.data()), own.differences.size());
    own.differences.push_back(std::move(difference));
  }

  LayoutFindings findings(bool together) {
    LayoutFindings findings;
    for (Kind& kind : kinds_) findings.rows.push_back(together ? judge_together(kind) : judge_each(kind));
    for (const auto& [kind, index] : order_) {
      const Difference& one = kinds_[kind].differences[index];
      if (!one.differs()) continue;
      const std::string text = fmt::format("{} ({}) differs by {:.2e}, more than {:.2e}", kinds_[kind].name,
                                           one.place(), one.found, one.limit);
      if (findings.first.empty()) findings.first = text;
      if (findings.first_parameter.empty() && !one.parameter.empty()) findings.first_parameter = text;
    }
    return findings;
  }

 private:
  struct Kind {
    std::string name;
    std::vector<Difference> differences;
  };

  static LayoutRow judge_each(const Kind& kind) {
    const auto worst = std::max_element(
        kind.differences.begin(), kind.differences.end(),
        [](const Difference& a, const Difference& b) { return a.found - a.limit < b.found - b.limit; });
    return {kind.name, worst->found, worst->limit, worst->place()};
  }

  // A single number's distance is luck, so a kind's parameters and steps are judged together, by the mean of their
  // squared distances. Where that is too large, those differ that are beyond the kind's limit, and beyond one made of
  // their own distance on the one rank; at least the one that is furthest off.
  LayoutRow judge_together(Kind& kind) const {
    double one = 0, many = 0;
    bool single = false;
    const Difference* worst = &kind.differences.front();
    for (const Difference& each : kind.differences) {
      one += each.of_one * each.of_one, many += each.found * each.found;
      single = single || each.parameter.empty();
      if (each.found - each.of_one >= worst->found - worst->of_one) worst = &each;
    }
    const double n = double(kind.differences.size());
    // Beside single numbers, which are few, a step of BF16, or in FP8 what a few codes that fall to the other side of a
    // border grow to over layers and steps of a model this narrow; beside all others a thousandth of BF16's.
    const double more = !single ? 4e-6 : precision_ == Precision::fp8 ? 1e-1 : 4e-3;
    const double root = std::sqrt(many / n), limit = 1.25 * std::sqrt(one / n) + more;
    if (root > limit) {
      for (Difference& each : kind.differences) each.limit = std::max(limit, 1.25 * each.of_one + more);
      const auto furthest =
          std::max_element(kind.differences.begin(), kind.differences.end(),
                           [](const Difference& a, const Difference& b) { return a.found < b.found; });
      if (std::none_of(kind.differences.begin(), kind.differences.end(),
                       [](const Difference& each) { return each.differs(); }))
        furthest->limit = limit;
    }
    return {kind.name, root, limit, worst->place()};
  }

  double limit_of(const std::string& kind) const {
    if (kind == "expert load") return 0;
    if (precision_ == Precision::fp64) return 1e-9;
    // Adam divides by the size of the gradients: where they are rounding alone, so is the update.
    const bool behind_adam = kind.ends_with("moment") || kind.starts_with("weight") || kind == "moving average";
    return behind_adam ? 1e-4 : 1e-5;
  }

  Precision precision_;
  int64_t step_ = 0;
  std::map<std::string, double> largest_;
  std::vector<Kind> kinds_;
  std::vector<std::pair<size_t, size_t>> order_;  // kind and place in it
};

// What a box says of a whole parameter.
Numbers part_of_numbers(const HeldValue& whole, const Box& box) {
  Numbers copy = whole.numbers, numbers;
  const Tensor part = part_of(Tensor::wrap(copy.data(), DType::f64, whole.box.size), box);
  for (int64_t row = 0; row < part.rows(); ++row) {
    const double* begin = part.data<double>() + row * part.row_stride();
    numbers.insert(numbers.end(), begin, begin + part.cols());
  }
  return numbers;
}

void compare_values(const std::string& kind, const std::vector<HeldValue>& many, const StepRecord& one,
                    const StepRecord* exact, Comparison& comparison) {
  size_t at = 0;  // the one rank holds all parameters, in the same order
  for (const HeldValue& value : many) {
    const std::vector<HeldValue>& whole = one.values[0];
    while (at < whole.size() && whole[at].parameter != value.parameter) ++at;
    check(at < whole.size(), ErrorKind::internal, "no value of {} on one rank, or in another order", value.parameter);
    const Numbers of_exact = exact ? part_of_numbers(exact->values[0][at], value.box) : Numbers();
    comparison.compare(kind, value.parameter, part_of_numbers(whole[at], value.box), value.numbers,
                       exact ? &of_exact : nullptr);
  }
}

void compare_step(const StepRecord& one, const StepRecord& many, const StepRecord* exact, Comparison& comparison) {
  check(one.quantities.size() == many.quantities.size(), ErrorKind::internal,
        "one rank's step has {} quantities, the layout's {}", one.quantities.size(), many.quantities.size());
  comparison.begin_step(one);
  for (size_t i = 0; i < one.quantities.size(); ++i) {
    const StepQuantity &own = one.quantities[i], &other = many.quantities[i];
    check(own.kind == other.kind && own.parameter == other.parameter, ErrorKind::internal,
          "quantities come in another order: {} {} beside {} {}", own.kind, own.parameter, other.kind, other.parameter);
    comparison.compare(own.kind, own.parameter, own.numbers, other.numbers,
                       exact ? &exact->quantities[i].numbers : nullptr);
  }
  for (size_t rank = 0; rank < many.values.size(); ++rank)
    compare_values(fmt::format("weight on rank {}", rank), many.values[rank], one, exact, comparison);
}

}  // namespace

LayoutFindings compare_records(Precision precision, const std::vector<StepRecord>& one,
                               const std::vector<StepRecord>& many, const std::vector<StepRecord>& exact) {
  Comparison comparison(precision);
  for (size_t s = 0; s < one.size(); ++s)
    compare_step(one[s], many[s], exact.empty() ? nullptr : &exact[s], comparison);
  return comparison.findings(!exact.empty());
}

}  // namespace hadal
