// Recursive descent; every level counts, every node counts. What does not fit makes the whole no answer.
#include <algorithm>
#include <utility>

#include "grading/maths_tokens.h"
#include "grading/maths_value.h"

namespace hadal::grading {
namespace {

using Kind = MathsTokenKind;

struct NoAnswer {};  // thrown and caught in this file

class MathsParser {
 public:
  MathsParser(std::vector<MathsToken> tokens, const MathsLimits& limits)
      : tokens_(std::move(tokens)), limits_(limits) {}

  MathsPtr whole() {
    MathsPtr value = list(MathsKind::list);
    if (now().kind != Kind::end) throw NoAnswer();
    return value;
  }

 private:
  struct Level {
    explicit Level(MathsParser& parser) : parser_(parser) {
      if (++parser_.depth_ > parser_.limits_.depth) throw NoAnswer();
    }
    ~Level() { --parser_.depth_; }
    MathsParser& parser_;
  };

  const MathsToken& now() const { return tokens_[at_]; }
  void next() { at_ += at_ + 1 < tokens_.size(); }
  bool is_sign(std::string_view sign) const { return now().kind == Kind::sign && now().text == sign; }
  bool is_command(std::string_view name) const { return now().kind == Kind::command && now().text == name; }
  bool skip_sign(std::string_view sign) { return is_sign(sign) && (next(), true); }
  bool skip_command(std::string_view name) { return is_command(name) && (next(), true); }
  void want_sign(std::string_view sign) {
    if (!skip_sign(sign)) throw NoAnswer();
  }

  MathsPtr make(MathsKind kind, std::string text = "") {
    if (++nodes_ > limits_.nodes) throw NoAnswer();
    auto node = std::make_unique<MathsNode>();
    node->kind = kind, node->text = std::move(text);
    return node;
  }
  template <class... Parts>
  MathsPtr node(MathsKind kind, std::string text, Parts... parts) {
    MathsPtr made = make(kind, std::move(text));
    (made->parts.push_back(std::move(parts)), ...);
    return made;
  }

  // One value, or several with commas between them, as `several`.
  MathsPtr list(MathsKind several) {
    const Level level(*this);
    MathsPtr first = relation();
    if (!is_sign(",") && !is_sign(";")) return first;
    MathsPtr all = node(several, "", std::move(first));
    while (skip_sign(",") || skip_sign(";")) {
      if (is_sign(",")) next();  // "1, 2, and 3"
      all->parts.push_back(relation());
    }
    return all;
  }

  std::string relation_sign() const {
    static constexpr std::pair<const char*, const char*> kCommands[] = {{"le", "<="}, {"ge", ">="}, {"ne", "!="}};
    for (const auto& [name, sign] : kCommands)
      if (is_command(name)) return sign;
    if (is_sign("=") || is_sign("<") || is_sign(">")) return now().text;
    return "";
  }

  MathsPtr relation() {
    const Level level(*this);
    MathsPtr first = ratio();
    if (skip_command("in")) return relation();  // x \in S says S
    if (relation_sign().empty()) return first;
    MathsPtr all = node(MathsKind::relation, "", std::move(first));
    for (std::string sign = relation_sign(); !sign.empty(); sign = relation_sign()) {
      next();
      if ((sign == "<" || sign == ">") && skip_sign("=")) sign += "=";
      all->text += (all->text.empty() ? "" : " ") + sign;
      all->parts.push_back(ratio());
    }
    return all;
  }

  MathsPtr ratio() {
    MathsPtr first = unions();
    if (!is_sign(":")) return first;
    MathsPtr all = node(MathsKind::ratio, "", std::move(first));
    while (skip_sign(":")) all->parts.push_back(unions());
    return all;
  }

  MathsPtr unions() {
    MathsPtr first = sum();
    if (!is_command("cup")) return first;
    MathsPtr all = node(MathsKind::united, "", std::move(first));
    while (skip_command("cup")) all->parts.push_back(sum());
    return all;
  }

  // A sign in front of a term; two of them are none that people write.
  MathsPtr signed_term() {
    const bool minus = is_sign("-");
    if (!minus && !is_sign("+")) return product();
    next();
    if (is_sign("-") || is_sign("+")) throw NoAnswer();
    MathsPtr term = product();
    return minus ? node(MathsKind::negative, "", std::move(term)) : std::move(term);
  }

  MathsPtr sum() {
    const Level level(*this);
    MathsPtr first;
    if (skip_command("pm"))
      first = node(MathsKind::plus_minus, "", node(MathsKind::number, "0"), product());
    else
      first = signed_term();
    while (true) {
      if (skip_command("pm")) {
        first = node(MathsKind::plus_minus, "", std::move(first), product());
        continue;
      }
      const bool minus = is_sign("-");
      if (!minus && !is_sign("+")) return first;
      next();
      if (is_sign("-") || is_sign("+")) throw NoAnswer();
      MathsPtr term = product();
      if (minus) term = node(MathsKind::negative, "", std::move(term));
      first = node(MathsKind::sum, "", std::move(first), std::move(term));
    }
  }

  bool begins_factor() const {
    if (now().kind == Kind::letter || now().kind == Kind::number) return true;
    if (now().kind != Kind::command) return is_sign("(") || is_sign("{");
    static constexpr std::string_view kBetween[] = {"cup", "pm", "in", "end"};
    return relation_sign().empty() &&
           std::find(std::begin(kBetween), std::end(kBetween), now().text) == std::end(kBetween);
  }

  MathsPtr product() {
    const Level level(*this);
    MathsPtr first = leading_words();
    if (!first) first = factor();
    while (true) {
      if (skip_sign("*")) {
        first = node(MathsKind::product, "", std::move(first), unary_factor());
      } else if (skip_sign("/")) {
        first = mixed(std::move(first), unary_factor());
      } else if (now().kind == Kind::words) {
        first = with_unit(std::move(first));
      } else if (begins_factor()) {
        first = beside(std::move(first), factor());
      } else {
        return first;
      }
    }
  }

  MathsPtr unary_factor() {
    if (skip_sign("-")) return node(MathsKind::negative, "", factor());
    skip_sign("+");
    return factor();
  }

  // Words alone, or a unit in front of a number.
  MathsPtr leading_words() {
    if (now().kind != Kind::words) return nullptr;
    MathsPtr words = make(MathsKind::words, now().text);
    next();
    if (now().kind != Kind::number) return words;
    MathsPtr number = factor();
    return node(MathsKind::unit, words->text, std::move(number));
  }
  MathsPtr with_unit(MathsPtr value) {
    std::string unit = now().text;
    next();
    if (value->kind == MathsKind::words) throw NoAnswer();
    if (value->kind == MathsKind::unit) value = std::move(value->parts[0]);
    return node(MathsKind::unit, std::move(unit), std::move(value));
  }

  // "1 1/2" is a mixed number.
  MathsPtr mixed(MathsPtr numerator, MathsPtr denominator) {
    const bool pair = numerator->kind == MathsKind::product && numerator->text == "beside" &&
                      numerator->parts[0]->kind == MathsKind::number && numerator->parts[1]->kind == MathsKind::number;
    if (!pair) return node(MathsKind::quotient, "", std::move(numerator), std::move(denominator));
    MathsPtr share = node(MathsKind::quotient, "", std::move(numerator->parts[1]), std::move(denominator));
    return node(MathsKind::sum, "", std::move(numerator->parts[0]), std::move(share));
  }

  // Two factors without a sign between them: a product, or a number and a fraction behind it, which is a sum.
  MathsPtr beside(MathsPtr a, MathsPtr b) {
    const auto whole = [](const MathsNode& n) {
      return n.kind == MathsKind::number && n.text.find_first_not_of("0123456789") == std::string::npos;
    };
    if (whole(*a) && b->kind == MathsKind::quotient && b->text == "frac" && whole(*b->parts[0]) && whole(*b->parts[1]))
      return node(MathsKind::sum, "", std::move(a), std::move(b));
    return node(MathsKind::product, "beside", std::move(a), std::move(b));
  }

  MathsPtr factor() {
    const Level level(*this);
    MathsPtr value = base();
    while (true) {
      if (skip_sign("^")) {
        value = node(MathsKind::power, "", std::move(value), script());
      } else if (skip_sign("!")) {
        value = node(MathsKind::factorial, "", std::move(value));
      } else if (skip_sign("%")) {
        value = node(MathsKind::percent, "", std::move(value));
      } else if (is_sign("_") && value->kind == MathsKind::number) {
        next();
        value = node(MathsKind::based, "", std::move(value), script());
      } else {
        return value;
      }
    }
  }

  // What stands behind ^ and _, and the arguments of \frac: one digit, letter or command, or braces.
  MathsPtr script() {
    const Level level(*this);
    if (skip_sign("-")) return node(MathsKind::negative, "", script());
    if (now().kind == Kind::number && now().text.size() > 1 && !now().text.starts_with('.')) {
      const std::string digits = std::exchange(tokens_[at_].text, "");
      tokens_[at_].text = digits.substr(1);
      return make(MathsKind::number, digits.substr(0, 1));
    }
    if (now().kind == Kind::number || now().kind == Kind::letter) return base();
    if (now().kind == Kind::command || is_sign("{") || is_sign("(")) return base();
    throw NoAnswer();
  }

  MathsPtr base() {
    const Level level(*this);
    const MathsToken token = now();
    switch (token.kind) {
      case Kind::number: next(); return make(MathsKind::number, token.text);
      case Kind::letter: return name();
      case Kind::command: return command();
      case Kind::sign: return bracketed();
      case Kind::words: next(); return make(MathsKind::words, token.text);
      case Kind::end: break;
    }
    throw NoAnswer();
  }

  MathsPtr name() {
    std::string text = now().text;
    next();
    if (is_sign("_")) {
      next();
      const bool braces = skip_sign("{");
      if (now().kind != Kind::number && now().kind != Kind::letter) throw NoAnswer();
      text += "_" + now().text;
      next();
      if (braces) want_sign("}");
    }
    return make(MathsKind::name, std::move(text));
  }

  MathsPtr bracketed() {
    if (skip_sign("{")) {
      MathsPtr inside = list(MathsKind::list);
      want_sign("}");
      return inside;
    }
    if (skip_sign("\\{")) {
      MathsPtr set = make(MathsKind::set);
      if (skip_sign("\\}")) return set;
      MathsPtr inside = list(MathsKind::list);
      want_sign("\\}");
      if (inside->kind == MathsKind::list)
        set->parts = std::move(inside->parts);
      else
        set->parts.push_back(std::move(inside));
      return set;
    }
    if (skip_sign("|")) {
      MathsPtr inside = sum();
      want_sign("|");
      return node(MathsKind::function, "abs", std::move(inside));
    }
    const std::string open = now().text;
    if (open != "(" && open != "[") throw NoAnswer();
    next();
    MathsPtr inside = list(MathsKind::tuple);
    const std::string close = now().text;
    if (!is_sign(")") && !is_sign("]")) throw NoAnswer();
    next();
    const std::string ends = open + close;
    if (inside->kind != MathsKind::tuple) {
      if (ends != "()" && ends != "[]") throw NoAnswer();
      return inside;
    }
    if (ends == "()") return inside;
    if (inside->parts.size() == 2) {
      inside->kind = MathsKind::interval, inside->text = ends;
    } else if (ends != "[]") {
      throw NoAnswer();
    }
    return inside;
  }

  MathsPtr command() {
    const std::string name = now().text;
    next();
    if (name == "pi" || name == "infty") return make(MathsKind::name, "\\" + name);
    if (name == "emptyset") return make(MathsKind::set);
    if (name == "frac") {
      MathsPtr above = script();
      MathsPtr below = script();
      return node(MathsKind::quotient, "frac", std::move(above), std::move(below));
    }
    if (name == "sqrt") {
      MathsPtr degree;
      if (skip_sign("[")) degree = sum(), want_sign("]");
      MathsPtr inside = script();
      return degree ? node(MathsKind::root, "", std::move(inside), std::move(degree))
                    : node(MathsKind::root, "", std::move(inside));
    }
    if (name == "begin") return matrix();
    if (is_function_name(name)) return function(name);
    throw NoAnswer();
  }

  // \sin^2 x, \log_2 8, \sin(2x), \sin 2x: an argument without brackets goes on while factors stand beside each other.
  MathsPtr function(const std::string& name) {
    MathsPtr power, logarithm_base;
    if (name == "log" && skip_sign("_")) logarithm_base = script();
    if (skip_sign("^")) power = script();
    MathsPtr argument;
    if (is_sign("(") || is_sign("{") || is_sign("[")) {
      argument = base();
    } else {
      argument = factor();
      while ((now().kind == Kind::letter || now().kind == Kind::number) && begins_factor())
        argument = node(MathsKind::product, "", std::move(argument), factor());
    }
    MathsPtr value = node(MathsKind::function, name, std::move(argument));
    if (logarithm_base) value->parts.push_back(std::move(logarithm_base));
    return power ? node(MathsKind::power, "", std::move(value), std::move(power)) : std::move(value);
  }

  std::string environment() {
    want_sign("{");
    std::string name;
    for (; now().kind == Kind::letter || now().kind == Kind::words || is_sign("*"); next()) name += now().text;
    want_sign("}");
    return name;
  }

  // \begin{pmatrix} a & b \\ c & d \end{pmatrix}, whatever its brackets are.
  MathsPtr matrix() {
    const std::string name = environment();
    if (!name.ends_with("matrix")) throw NoAnswer();
    MathsPtr rows = make(MathsKind::matrix);
    while (!is_command("end")) {
      MathsPtr row = make(MathsKind::tuple);
      do row->parts.push_back(relation());
      while (skip_sign("&"));
      rows->parts.push_back(std::move(row));
      if (!skip_sign("\\\\") && !is_command("end")) throw NoAnswer();
    }
    next();
    if (environment() != name || rows->parts.empty()) throw NoAnswer();
    return rows;
  }

  std::vector<MathsToken> tokens_;
  const MathsLimits& limits_;
  size_t at_ = 0;
  int64_t depth_ = 0, nodes_ = 0;
};

}  // namespace

MathsPtr parse_maths(std::string_view text, const MathsLimits& limits) {
  if (int64_t(text.size()) > limits.bytes) return nullptr;
  const std::string clean = clean_maths(text);
  std::vector<MathsToken> tokens;
  if (clean.empty() || !cut_maths(clean, tokens)) return nullptr;
  try {
    return MathsParser(std::move(tokens), limits).whole();
  } catch (const NoAnswer&) {
    return nullptr;
  }
}

}  // namespace hadal::grading
