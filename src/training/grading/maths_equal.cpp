#include "grading/maths_equal.h"

#include <algorithm>
#include <optional>

#include "grading/maths_number.h"
#include "grading/maths_value.h"

namespace hadal::grading {
namespace {

bool same(const MathsNode& gold, const MathsNode& answer);

using Nodes = std::vector<const MathsNode*>;

Nodes parts_of(const MathsNode& node) {
  Nodes parts;
  for (const MathsPtr& part : node.parts) parts.push_back(part.get());
  return parts;
}

bool same_in_order(const Nodes& a, const Nodes& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!same(*a[i], *b[i])) return false;
  return true;
}

// Every one of a has its own in b. Few enough that trying all pairs is nothing.
bool same_in_any_order(const Nodes& a, const Nodes& b) {
  if (a.size() != b.size() || a.size() > 40) return false;
  std::vector<bool> taken(b.size());
  for (const MathsNode* one : a) {
    size_t at = 0;
    while (at < b.size() && (taken[at] || !same(*one, *b[at]))) ++at;
    if (at == b.size()) return false;
    taken[at] = true;
  }
  return true;
}

Nodes without_doubles(const Nodes& all) {
  Nodes kept;
  for (const MathsNode* one : all)
    if (std::none_of(kept.begin(), kept.end(), [&](const MathsNode* other) { return same(*one, *other); }))
      kept.push_back(one);
  return kept;
}

// --- numbers and expressions ---

struct Values {
  std::vector<MathsNumber> a, b;  // where both are defined
  bool apart = false;             // at some point one of the two alone is undefined
};

// Nothing where one of the two is no expression.
std::optional<Values> values_of(const MathsNode& a, const MathsNode& b) {
  std::vector<std::string> names;
  if (!variables_of(a, names) || !variables_of(b, names)) return std::nullopt;
  Values values;
  const int n_points = names.empty() ? 1 : kMathsPoints;
  for (int point = 0; point < n_points; ++point) {
    auto x = evaluate_maths(a, names, point), y = evaluate_maths(b, names, point);
    values.apart |= x.has_value() != y.has_value();
    if (!x || !y) continue;
    values.a.push_back(std::move(*x)), values.b.push_back(std::move(*y));
  }
  if (int(values.a.size()) < (n_points == 1 ? 1 : 4)) return std::nullopt;
  return values;
}

bool same_value(const MathsNode& a, const MathsNode& b) {
  const std::optional<Values> values = values_of(a, b);
  if (!values || values->apart) return false;
  for (size_t i = 0; i < values->a.size(); ++i)
    if (!values->a[i].equals(values->b[i])) return false;
  return true;
}

bool is_infinite(const MathsNode& node) { return node.kind == MathsKind::name && node.text == "\\infty"; }

// Of ends of intervals: infinities are themselves.
bool same_end(const MathsNode& a, const MathsNode& b) {
  const bool minus_a = a.kind == MathsKind::negative && is_infinite(*a.parts[0]);
  const bool minus_b = b.kind == MathsKind::negative && is_infinite(*b.parts[0]);
  if (minus_a || minus_b) return minus_a && minus_b;
  if (is_infinite(a) || is_infinite(b)) return is_infinite(a) && is_infinite(b);
  return same_value(a, b);
}

// --- intervals ---

struct Interval {
  const MathsNode *low = nullptr, *high = nullptr;  // null: without end
  bool low_in = false, high_in = false;
};

std::optional<Interval> interval_of(const MathsNode& node) {
  if (node.kind == MathsKind::tuple && node.parts.size() == 2)
    return Interval{node.parts[0].get(), node.parts[1].get()};
  if (node.kind != MathsKind::interval) return std::nullopt;
  return Interval{node.parts[0].get(), node.parts[1].get(), node.text[0] == '[', node.text[1] == ']'};
}

// The interval that an inequality of one variable says: 0 <= x < 1, x < 5, 5 > x.
std::optional<Interval> interval_of_relation(const MathsNode& node) {
  if (node.kind != MathsKind::relation) return std::nullopt;
  const auto is_name = [](const MathsNode& n) { return n.kind == MathsKind::name && n.text[0] != '\\'; };
  const auto smaller = [](const std::string& sign) { return sign == "<" || sign == "<="; };
  const auto greater = [](const std::string& sign) { return sign == ">" || sign == ">="; };
  if (node.parts.size() == 3) {
    const std::string first = node.text.substr(0, node.text.find(' ')),
                      second = node.text.substr(node.text.find(' ') + 1);
    if (!is_name(*node.parts[1])) return std::nullopt;
    if (smaller(first) && smaller(second))
      return Interval{node.parts[0].get(), node.parts[2].get(), first == "<=", second == "<="};
    if (greater(first) && greater(second))
      return Interval{node.parts[2].get(), node.parts[0].get(), second == ">=", first == ">="};
    return std::nullopt;
  }
  if (node.parts.size() != 2 || (!smaller(node.text) && !greater(node.text))) return std::nullopt;
  const bool name_first = is_name(*node.parts[0]);
  if (!name_first && !is_name(*node.parts[1])) return std::nullopt;
  const MathsNode* end = node.parts[name_first ? 1 : 0].get();
  if (end->kind == MathsKind::name && end->text[0] != '\\') return std::nullopt;  // x < y
  const bool below = smaller(node.text) == name_first, in = node.text.size() == 2;
  return below ? Interval{nullptr, end, false, in} : Interval{end, nullptr, in, false};
}

bool same_interval_end(const MathsNode* a, const MathsNode* b, bool low) {
  const auto endless = [&](const MathsNode* n) {
    if (n == nullptr) return true;
    return low ? n->kind == MathsKind::negative && is_infinite(*n->parts[0]) : is_infinite(*n);
  };
  if (endless(a) || endless(b)) return endless(a) && endless(b);
  return same_end(*a, *b);
}

bool same_interval(const Interval& a, const Interval& b) {
  return a.low_in == b.low_in && a.high_in == b.high_in && same_interval_end(a.low, b.low, true) &&
         same_interval_end(a.high, b.high, false);
}

// --- relations ---

MathsPtr copy_of(const MathsNode& node) {
  auto made = std::make_unique<MathsNode>();
  made->kind = node.kind, made->text = node.text;
  for (const MathsPtr& part : node.parts) made->parts.push_back(copy_of(*part));
  return made;
}

// a + b, or a - b.
MathsPtr sum_of(const MathsNode& a, const MathsNode& b, bool minus) {
  auto sum = std::make_unique<MathsNode>();
  sum->kind = MathsKind::sum;
  sum->parts.push_back(copy_of(a)), sum->parts.push_back(copy_of(b));
  if (!minus) return sum;
  auto negative = std::make_unique<MathsNode>();
  negative->kind = MathsKind::negative, negative->parts.push_back(std::move(sum->parts[1]));
  sum->parts[1] = std::move(negative);
  return sum;
}

// One side less the other.
MathsPtr difference_of(const MathsNode& relation) { return sum_of(*relation.parts[0], *relation.parts[1], true); }

bool same_relation(const MathsNode& a, const MathsNode& b) {
  const auto x = interval_of_relation(a), y = interval_of_relation(b);
  if (x && y) return same_interval(*x, *y);
  if (a.parts.size() != b.parts.size()) return false;
  if (a.parts.size() != 2) return a.text == b.text && same_in_order(parts_of(a), parts_of(b));
  const auto turned = [](const std::string& sign) {
    return sign.starts_with('<') ? ">" + sign.substr(1) : sign.starts_with('>') ? "<" + sign.substr(1) : sign;
  };
  const bool equation = a.text == "=" || a.text == "!=";
  if (a.text != b.text && a.text != turned(b.text)) return false;
  // Two equations are one where their differences are the same but for a factor; inequalities want its sign too.
  const MathsPtr p = difference_of(a), q = difference_of(b);
  const std::optional<Values> values = values_of(*p, *q);
  if (!values || values->apart) return false;
  if (equation) return MathsNumber::proportional(values->a, values->b, false);
  if (a.text == b.text) return MathsNumber::proportional(values->a, values->b, true);
  return MathsNumber::proportional(values->a, values->b, false) &&
         !MathsNumber::proportional(values->a, values->b, true);
}

// What a variable is set to: the right side of "x = 5".
const MathsNode* value_of_equation(const MathsNode& node) {
  if (node.kind != MathsKind::relation || node.text != "=" || node.parts.size() != 2) return nullptr;
  return node.parts[0]->kind == MathsKind::name ? node.parts[1].get() : nullptr;
}

// --- lists, words, units ---

bool holds_plus_minus(const MathsNode& node) {
  return node.kind == MathsKind::plus_minus ||
         std::any_of(node.parts.begin(), node.parts.end(), [](const auto& part) { return holds_plus_minus(*part); });
}

// A list with a +- b as two of its members; the new nodes live in `made`.
Nodes members_of(const MathsNode& node, std::vector<MathsPtr>& made) {
  const Nodes given = node.kind == MathsKind::list ? parts_of(node) : Nodes{&node};
  Nodes members;
  for (const MathsNode* one : given) {
    if (const MathsNode* value = value_of_equation(*one); value != nullptr && holds_plus_minus(*value)) one = value;
    if (one->kind != MathsKind::plus_minus) {
      members.push_back(one);
      continue;
    }
    for (const bool minus : {false, true}) {
      made.push_back(sum_of(*one->parts[0], *one->parts[1], minus));
      members.push_back(made.back().get());
    }
  }
  return members;
}

std::string letters_of(const MathsNode& node) {
  if (node.kind == MathsKind::words) return node.text;
  if (node.kind == MathsKind::name && node.text[0] != '\\') return node.text;
  return "";
}

// A percentage is its share and its number.
bool same_percent(const MathsNode& gold, const MathsNode& answer) {
  const auto inside = [](const MathsNode& n) -> const MathsNode& {
    return n.kind == MathsKind::percent ? *n.parts[0] : n;
  };
  if (same_value(gold, answer)) return true;
  return same_value(inside(gold), inside(answer));
}

bool same_shape(const MathsNode& gold, const MathsNode& answer) {
  switch (gold.kind) {
    case MathsKind::set:
      return answer.kind == MathsKind::set &&
             same_in_any_order(without_doubles(parts_of(gold)), without_doubles(parts_of(answer)));
    case MathsKind::united:
      return answer.kind == MathsKind::united && same_in_any_order(parts_of(gold), parts_of(answer));
    case MathsKind::interval: {
      const auto interval = interval_of(answer);
      return answer.kind == MathsKind::interval && interval && same_interval(*interval_of(gold), *interval);
    }
    case MathsKind::tuple:
      if (answer.kind != MathsKind::tuple || gold.parts.size() != answer.parts.size()) return false;
      if (gold.parts.size() == 2) return same_interval(*interval_of(gold), *interval_of(answer));
      return same_in_order(parts_of(gold), parts_of(answer));
    case MathsKind::matrix:
    case MathsKind::ratio:
    case MathsKind::based: return answer.kind == gold.kind && same_in_order(parts_of(gold), parts_of(answer));
    default: return false;
  }
}

bool same(const MathsNode& gold, const MathsNode& answer) {
  if (gold.kind == MathsKind::list || answer.kind == MathsKind::list || holds_plus_minus(gold) ||
      holds_plus_minus(answer)) {
    std::vector<MathsPtr> made;
    const Nodes a = members_of(gold, made), b = members_of(answer, made);
    if (a.size() == 1 && b.size() == 1) return false;  // +- in the midst of something: undecided
    return same_in_any_order(a, b);
  }
  if (gold.kind == MathsKind::relation && answer.kind == MathsKind::relation) return same_relation(gold, answer);
  if (gold.kind == MathsKind::relation) {
    if (const MathsNode* value = value_of_equation(gold)) return same(*value, answer);
    const auto interval = interval_of_relation(gold), other = interval_of(answer);
    return interval && other && same_interval(*interval, *other);
  }
  if (answer.kind == MathsKind::relation) {
    const MathsNode* value = value_of_equation(answer);
    return value != nullptr && same(gold, *value);
  }
  const std::string a = letters_of(gold), b = letters_of(answer);
  if (gold.kind == MathsKind::words || answer.kind == MathsKind::words) return !a.empty() && a == b;
  if (gold.kind == MathsKind::unit && answer.kind == MathsKind::unit)
    return gold.text == answer.text && same(*gold.parts[0], *answer.parts[0]);
  if (gold.kind == MathsKind::unit) return same(*gold.parts[0], answer);
  if (answer.kind == MathsKind::unit) return same(gold, *answer.parts[0]);
  if (gold.kind == MathsKind::percent || answer.kind == MathsKind::percent) return same_percent(gold, answer);
  return same_shape(gold, answer) || same_end(gold, answer);
}

}  // namespace

bool readable_maths(std::string_view answer) { return parse_maths(answer) != nullptr; }

MathsVerdict compare_maths(std::string_view gold, std::string_view answer) {
  const MathsPtr a = parse_maths(gold), b = parse_maths(answer);
  if (!a || !b) return MathsVerdict::undecided;
  return same(*a, *b) ? MathsVerdict::equal : MathsVerdict::different;
}

}  // namespace hadal::grading
