// A rule derives some text if its body does; bodies are looked at until nothing new turns out.
#include "grammar/xgrammar/satisfiable.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/json.h"

namespace hadal {
namespace {

using Values = std::vector<int32_t>;

// As in the library's grammar_impl.h, GrammarExprType.
enum Expression {
  byte_string,
  character_class,
  character_class_star,
  empty,
  rule_of,
  sequence,
  choices,
  dispatch,
  repeat
};

class Satisfiable {
 public:
  explicit Satisfiable(const nlohmann::json& grammar)
      : data_(grammar.at("grammar_expr_data").get<Values>()),
        starts_(grammar.at("grammar_expr_indptr").get<Values>()),
        root_(grammar.at("root_rule_id").get<size_t>()) {
    for (const auto& rule : grammar.at("rules")) bodies_.push_back(rule.at(1).get<int32_t>());
    derives_.resize(bodies_.size());
  }

  bool operator()() {
    for (bool news = true; news;) {
      news = false;
      known_.assign(starts_.size(), -1);
      for (size_t r = 0; r < bodies_.size(); ++r) {
        if (derives_[r] || !some(bodies_[r])) continue;
        derives_[r] = news = true;
      }
    }
    return derives_.at(root_);
  }

 private:
  // Expressions nest no deeper than the text that they were read from, which a child reads (compile_child.h).
  bool some(int32_t expression) {
    int8_t& known = known_.at(size_t(expression));
    if (known < 0) known = find(expression);
    return known > 0;
  }
  bool find(int32_t expression) {
    const size_t at = size_t(starts_.at(size_t(expression)));
    const int32_t *begin = data_.data() + at + 2, *end = begin + data_.at(at + 1);
    switch (data_.at(at)) {
      case character_class: return has_character(begin, end);
      case rule_of: return derives_.at(size_t(*begin));
      case sequence: return std::all_of(begin, end, [this](int32_t part) { return some(part); });
      case choices: return std::any_of(begin, end, [this](int32_t part) { return some(part); });
      case repeat: return begin[1] == 0 || derives_.at(size_t(*begin));
      default: return true;
    }
  }
  // [whether all others are meant, first, last, first, last ...]
  static bool has_character(const int32_t* begin, const int32_t* end) {
    if (*begin == 0) return end - begin > 1;
    std::vector<std::pair<int32_t, int32_t>> ranges;
    for (const int32_t* at = begin + 1; at + 1 < end; at += 2) ranges.emplace_back(at[0], at[1]);
    std::sort(ranges.begin(), ranges.end());
    int32_t next = 0;
    for (const auto& [first, last] : ranges) {
      if (first > next) return true;
      next = std::max(next, last + 1);
    }
    return next <= 0x10FFFF;
  }

  Values data_, starts_, bodies_;
  size_t root_;
  std::vector<char> derives_;  // of rules
  std::vector<int8_t> known_;  // of expressions, in this round; negative: not yet
};

}  // namespace

bool is_satisfiable(const std::string& grammar) {
  return Satisfiable(parse_json<nlohmann::json>(grammar, "the grammar"))();
}

}  // namespace hadal
