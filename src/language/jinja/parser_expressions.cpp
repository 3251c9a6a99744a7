// Expressions, by falling precedence from the bottom of this file to its top.
#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "jinja/parser.h"

namespace hadal::jinja {

ExpressionPtr Parser::make(ExpressionKind kind, int line) const {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->line = line;
  return expression;
}

ExpressionPtr Parser::measured(ExpressionPtr expression) const {
  for (const ExpressionPtr& part : expression->parts) {
    if (part) expression->depth = std::max(expression->depth, part->depth + 1);
  }
  for (const auto& [name, value] : expression->named) expression->depth = std::max(expression->depth, value->depth + 1);
  check(expression->depth <= deepest_, ErrorKind::invalid,
        "chat template, line {}: an expression nests deeper than the limit of {} levels", expression->line, deepest_);
  return expression;
}

ExpressionPtr Parser::join(ExpressionKind kind, int line, ExpressionPtr left, ExpressionPtr right) const {
  ExpressionPtr expression = make(kind, line);
  expression->parts.push_back(std::move(left));
  if (right) expression->parts.push_back(std::move(right));
  return measured(std::move(expression));
}

ExpressionPtr Parser::parse_tuple(bool conditions, bool explicit_parentheses, bool until_recursive) {
  const int line = now().line;
  std::vector<ExpressionPtr> parts;
  bool tuple = false;
  while (now().kind != TokenKind::print_end && now().kind != TokenKind::block_end && !is_sign(")") &&
         !(until_recursive && is_name("recursive"))) {
    parts.push_back(conditions ? parse_expression() : parse_or());
    if (!is_sign(",")) break;
    next();
    tuple = true;
  }
  if (!tuple && parts.size() == 1) return std::move(parts[0]);
  if (parts.empty() && !explicit_parentheses) unexpected("an expression");
  ExpressionPtr expression = make(ExpressionKind::tuple, line);
  expression->parts = std::move(parts);
  return measured(std::move(expression));
}

ExpressionPtr Parser::parse_expression() {
  Nesting nesting(*this);
  ExpressionPtr value = parse_or();
  while (is_name("if")) {
    ExpressionPtr condition = make(ExpressionKind::condition, next().line);
    condition->parts.push_back(parse_or());
    condition->parts.push_back(std::move(value));
    condition->parts.push_back(skip_name("else") ? parse_expression() : nullptr);
    value = measured(std::move(condition));
  }
  return value;
}

ExpressionPtr Parser::parse_or() {
  ExpressionPtr left = parse_and();
  while (is_name("or")) {
    const int line = next().line;
    left = join(ExpressionKind::logical_or, line, std::move(left), parse_and());
  }
  return left;
}

ExpressionPtr Parser::parse_and() {
  ExpressionPtr left = parse_not();
  while (is_name("and")) {
    const int line = next().line;
    left = join(ExpressionKind::logical_and, line, std::move(left), parse_not());
  }
  return left;
}

ExpressionPtr Parser::parse_not() {
  if (!is_name("not")) return parse_compare();
  Nesting nesting(*this);
  const int line = next().line;
  return join(ExpressionKind::logical_not, line, parse_not(), nullptr);
}

ExpressionPtr Parser::parse_compare() {
  ExpressionPtr first = parse_sum();
  ExpressionPtr compare;
  while (true) {
    std::string sign;
    if (now().kind == TokenKind::sign &&
        (now().value == "==" || now().value == "!=" || now().value[0] == '<' || now().value[0] == '>')) {
      sign = next().value;
    } else if (skip_name("in")) {
      sign = "in";
    } else if (is_name("not") && ahead().kind == TokenKind::name && ahead().value == "in") {
      next(), next();
      sign = "not in";
    } else {
      break;
    }
    if (!compare) {
      compare = make(ExpressionKind::compare, now().line);
      compare->parts.push_back(std::move(first));
    }
    compare->operators.push_back(sign);
    compare->parts.push_back(parse_sum());
  }
  return compare ? measured(std::move(compare)) : std::move(first);
}

ExpressionPtr Parser::parse_sum() {
  ExpressionPtr left = parse_concat();
  while (is_sign("+") || is_sign("-")) {
    const Token sign = next();
    left = join(ExpressionKind::arithmetic, sign.line, std::move(left), parse_concat());
    left->name = sign.value;
  }
  return left;
}

ExpressionPtr Parser::parse_concat() {
  ExpressionPtr first = parse_product();
  if (!is_sign("~")) return first;
  ExpressionPtr concat = make(ExpressionKind::concat, now().line);
  concat->parts.push_back(std::move(first));
  while (skip_sign("~")) concat->parts.push_back(parse_product());
  return measured(std::move(concat));
}

ExpressionPtr Parser::parse_product() {
  ExpressionPtr left = parse_power();
  while (is_sign("*") || is_sign("/") || is_sign("//") || is_sign("%")) {
    const Token sign = next();
    left = join(ExpressionKind::arithmetic, sign.line, std::move(left), parse_power());
    left->name = sign.value;
  }
  return left;
}

ExpressionPtr Parser::parse_power() {
  ExpressionPtr left = parse_unary(true);
  while (is_sign("**")) {
    const Token sign = next();
    left = join(ExpressionKind::arithmetic, sign.line, std::move(left), parse_unary(true));
    left->name = sign.value;
  }
  return left;
}

ExpressionPtr Parser::parse_unary(bool with_filters) {
  Nesting nesting(*this);
  ExpressionPtr expression;
  if (is_sign("-") || is_sign("+")) {
    const Token sign = next();
    expression =
        join(sign.value == "-" ? ExpressionKind::negate : ExpressionKind::plus, sign.line, parse_unary(false), nullptr);
  } else {
    expression = parse_primary();
  }
  expression = parse_postfix(std::move(expression));
  return with_filters ? parse_filters_and_tests(std::move(expression)) : std::move(expression);
}

ExpressionPtr Parser::parse_primary() {
  Nesting nesting(*this);
  const Token token = now();
  if (token.kind == TokenKind::sign && token.value == "(") {
    next();
    ExpressionPtr tuple = parse_tuple(true, true);
    want_sign(")");
    return tuple;
  }
  if (is_sign("[")) return parse_list();
  if (is_sign("{")) return parse_dict();
  ExpressionPtr constant = make(ExpressionKind::constant, token.line);
  if (token.kind == TokenKind::name) {
    next();
    if (token.value == "true" || token.value == "True" || token.value == "false" || token.value == "False") {
      constant->constant = Value((token.value[0] | 32) == 't');
    } else if (token.value == "none" || token.value == "None") {
      constant->constant = Value(None{});
    } else {
      constant->kind = ExpressionKind::name;
      constant->name = token.value;
      for (Statement* macro : macros_) {  // Jinja looks for these names in macros inside, too
        macro->takes_varargs |= token.value == "varargs";
        macro->takes_caller |= token.value == "caller";
        macro->takes_kwargs |= token.value == "kwargs";
      }
    }
  } else if (token.kind == TokenKind::string) {
    std::string text, refused;
    for (; now().kind == TokenKind::string; next()) text += now().value, refused += now().refused;
    if (!refused.empty()) return unavailable(token.line, fmt::format("the escape {} in a string", refused));
    constant->constant = author_text(std::move(text));
  } else if (token.kind == TokenKind::integer) {
    next();
    return parse_integer(token);
  } else if (token.kind == TokenKind::real) {
    next();
    constant->constant = Value(std::strtod(token.value.c_str(), nullptr));
  } else {
    unexpected("an expression");
  }
  return constant;
}

ExpressionPtr Parser::parse_integer(const Token& token) const {
  const char kind = token.value.size() < 2 ? '0' : char(token.value[1] | 32);
  const int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
  const std::string_view digits = std::string_view(token.value).substr(base == 10 ? 0 : 2);
  Integer number = 0;
  for (const char c : digits) {
    const int digit = c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
    if (digit < 0 || digit >= base) corrupt_template(token.line, fmt::format("'{}' is no number", token.value));
    if (__builtin_mul_overflow(number, Integer(base), &number) ||
        __builtin_add_overflow(number, Integer(digit), &number))
      return unavailable(token.line, fmt::format("the number {}, beyond 127 bits,", token.value));
  }
  if (digits.empty()) corrupt_template(token.line, fmt::format("'{}' is no number", token.value));
  ExpressionPtr constant = make(ExpressionKind::constant, token.line);
  constant->constant = Value(number);
  return constant;
}

ExpressionPtr Parser::parse_list() {
  ExpressionPtr list = make(ExpressionKind::list, next().line);
  while (!is_sign("]")) {
    if (!list->parts.empty()) want_sign(",");
    if (is_sign("]")) break;
    list->parts.push_back(parse_expression());
  }
  next();
  return measured(std::move(list));
}

ExpressionPtr Parser::parse_dict() {
  ExpressionPtr dict = make(ExpressionKind::dict, next().line);
  while (!is_sign("}")) {
    if (!dict->parts.empty()) want_sign(",");
    if (is_sign("}")) break;
    dict->parts.push_back(parse_expression());
    want_sign(":");
    dict->parts.push_back(parse_expression());
  }
  next();
  return measured(std::move(dict));
}

ExpressionPtr Parser::parse_call(ExpressionPtr function) {
  ExpressionPtr call = make(ExpressionKind::call, now().line);
  call->parts.push_back(std::move(function));
  parse_arguments(*call);
  return measured(std::move(call));
}

ExpressionPtr Parser::parse_postfix(ExpressionPtr expression) {
  while (true) {
    if (is_sign(".")) {
      expression = parse_attribute(std::move(expression));
    } else if (is_sign("[")) {
      expression = parse_subscript(std::move(expression));
    } else if (is_sign("(")) {
      expression = parse_call(std::move(expression));
    } else {
      return expression;
    }
  }
}

ExpressionPtr Parser::parse_filters_and_tests(ExpressionPtr expression) {
  while (true) {
    if (skip_sign("|")) {
      expression = parse_filter(std::move(expression));
    } else if (skip_name("is")) {
      expression = parse_test(std::move(expression));
    } else if (is_sign("(")) {
      expression = parse_call(std::move(expression));
    } else {
      return expression;
    }
  }
}

ExpressionPtr Parser::parse_attribute(ExpressionPtr object) {
  const int line = next().line;
  if (now().kind == TokenKind::integer) {
    ExpressionPtr item = make(ExpressionKind::item, line);
    item->parts.push_back(std::move(object));
    item->parts.push_back(parse_primary());
    return measured(std::move(item));
  }
  ExpressionPtr attribute = make(ExpressionKind::attribute, line);
  attribute->name = take_name("the name of an attribute");
  attribute->parts.push_back(std::move(object));
  return measured(std::move(attribute));
}

ExpressionPtr Parser::parse_subscript(ExpressionPtr object) {
  ExpressionPtr item = make(ExpressionKind::item, next().line);
  item->parts.push_back(std::move(object));
  if (!is_sign(":")) {
    item->parts.push_back(parse_expression());
  } else {
    item->parts.push_back(nullptr);
  }
  if (is_sign(":")) {
    item->kind = ExpressionKind::slice;
    for (int i = 0; i < 2; ++i) {
      const bool given = skip_sign(":") && !is_sign(":") && !is_sign("]") && !is_sign(",");
      item->parts.push_back(given ? parse_expression() : nullptr);
    }
  }
  if (is_sign(",") && item->kind == ExpressionKind::item) {  // a tuple is the key
    ExpressionPtr tuple = make(ExpressionKind::tuple, item->line);
    tuple->parts.push_back(std::move(item->parts[1]));
    while (skip_sign(",") && !is_sign("]")) tuple->parts.push_back(parse_expression());
    item->parts[1] = measured(std::move(tuple));
  }
  want_sign("]");
  return measured(std::move(item));
}

void Parser::parse_arguments(Expression& call) {
  want_sign("(");
  bool first = true, unpacked[2] = {false, false};  // by '*', by '**'
  while (!is_sign(")")) {
    if (!first) want_sign(",");
    if (is_sign(")")) break;
    first = false;
    if (is_sign("*") || is_sign("**")) {
      const Token sign = next();
      if (unpacked[sign.value == "**"]) corrupt_template(sign.line, fmt::format("a second '{}' in a call", sign.value));
      unpacked[sign.value == "**"] = true;
      ExpressionPtr value = parse_expression();
      if (sign.value == "**") {
        call.named.emplace_back("", std::move(value));
      } else {
        call.parts.push_back(join(ExpressionKind::unpack, sign.line, std::move(value), nullptr));
      }
    } else if (now().kind == TokenKind::name && ahead().kind == TokenKind::sign && ahead().value == "=") {
      std::string name = next().value;
      next();
      call.named.emplace_back(std::move(name), parse_expression());
    } else {
      if (!call.named.empty()) corrupt_template(now().line, "an argument without name follows one with a name");
      if (unpacked[0]) corrupt_template(now().line, "an argument follows unpacked ones");
      call.parts.push_back(parse_expression());
    }
  }
  next();
}

ExpressionPtr Parser::parse_filter(ExpressionPtr input) {
  ExpressionPtr filter = make(ExpressionKind::filter, now().line);
  filter->name = take_dotted_name("the name of a filter");
  filter->filter = find_filter(filter->name);
  filter->parts.push_back(std::move(input));
  if (is_sign("(")) parse_arguments(*filter);
  return measured(std::move(filter));
}

ExpressionPtr Parser::parse_test(ExpressionPtr input) {
  const bool negated = skip_name("not");
  ExpressionPtr test = make(ExpressionKind::test, now().line);
  test->name = take_dotted_name("the name of a test");
  test->test = find_test(test->name);
  test->parts.push_back(std::move(input));
  const TokenKind kind = now().kind;
  if (is_sign("(")) {
    parse_arguments(*test);
  } else if ((kind == TokenKind::name && !is_name("else") && !is_name("or") && !is_name("and")) ||
             kind == TokenKind::string || kind == TokenKind::integer || kind == TokenKind::real || is_sign("[") ||
             is_sign("{")) {
    if (is_name("is")) corrupt_template(now().line, "tests cannot be chained with 'is'");
    ExpressionPtr argument = parse_primary();
    test->parts.push_back(parse_postfix(std::move(argument)));
  }
  test = measured(std::move(test));
  if (!negated) return test;
  const int line = test->line;
  return join(ExpressionKind::logical_not, line, std::move(test), nullptr);
}

}  // namespace hadal::jinja
