// Evaluation of expressions.
#include <algorithm>

#include "jinja/levels.h"

namespace hadal::jinja {

Value Interpreter::evaluate(const Expression& expression) {
  const Deeper deeper(*this, expression.line);
  switch (expression.kind) {
    case ExpressionKind::constant: return expression.constant;
    case ExpressionKind::name: return evaluate_name(expression);
    case ExpressionKind::logical_and: {
      Value left = evaluate(*expression.parts[0]);
      return truth(left) ? evaluate(*expression.parts[1]) : left;
    }
    case ExpressionKind::logical_or: {
      Value left = evaluate(*expression.parts[0]);
      return truth(left) ? left : evaluate(*expression.parts[1]);
    }
    case ExpressionKind::logical_not: return Value(!truth(evaluate(*expression.parts[0])));
    case ExpressionKind::condition:
      if (truth(evaluate(*expression.parts[0]))) return evaluate(*expression.parts[1]);
      return expression.parts[2] ? evaluate(*expression.parts[2])
                                 : undefined("an inline if without else was false, and its value is used");
    case ExpressionKind::compare: return evaluate_compare(expression);
    case ExpressionKind::call: return evaluate_call(expression);
    case ExpressionKind::filter: return evaluate_filter(expression, nullptr);
    case ExpressionKind::test: return evaluate_test(expression);
    case ExpressionKind::attribute: return attribute(evaluate(*expression.parts[0]), expression.name);
    case ExpressionKind::unavailable: unsupported(expression.name);
    default: return evaluate_parts(expression);
  }
}

Value Interpreter::evaluate_name(const Expression& expression) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->outer) {
    for (const auto& [name, value] : scope->names) {
      if (name == expression.name) return value;
    }
    step(1 + int64_t(scope->names.size() / 16));
  }
  if (!is_known_function(expression.name)) return undefined(fmt::format("'{}' is undefined", expression.name));
  auto function = std::make_shared<Callable>();
  function->name = expression.name;
  return Value(CallablePtr(std::move(function)));
}

Value Interpreter::evaluate_compare(const Expression& expression) {
  Value left = evaluate(*expression.parts[0]);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1]);
    const std::string& sign = expression.operators[i];
    bool holds = false;
    if (sign == "==") {
      holds = equal(left, right);
    } else if (sign == "!=") {
      holds = !equal(left, right);
    } else if (sign == "in") {
      holds = contains(right, left);
    } else if (sign == "not in") {
      holds = !contains(right, left);
    } else {
      const int ordered = order(left, right, sign.c_str());
      holds = ordered == 2   ? false
              : sign == "<"  ? ordered < 0
              : sign == "<=" ? ordered <= 0
              : sign == ">"  ? ordered > 0
                             : ordered >= 0;
    }
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

// Kinds whose parts are all evaluated first.
Value Interpreter::evaluate_parts(const Expression& expression) {
  std::vector<Value> parts;
  parts.reserve(expression.parts.size());
  for (const ExpressionPtr& part : expression.parts) parts.push_back(part ? evaluate(*part) : Value());
  switch (expression.kind) {
    case ExpressionKind::list: return list(std::move(parts));
    case ExpressionKind::tuple: return list(std::move(parts), ListKind::tuple);
    case ExpressionKind::dict: {
      std::vector<std::pair<Value, Value>> items;
      for (size_t i = 0; i + 1 < parts.size(); i += 2) items.emplace_back(std::move(parts[i]), std::move(parts[i + 1]));
      return dict(std::move(items));
    }
    case ExpressionKind::item: return item(parts[0], parts[1]);
    case ExpressionKind::slice:
      return slice(parts[0], expression.parts[1] ? &parts[1] : nullptr, expression.parts[2] ? &parts[2] : nullptr,
                   expression.parts[3] ? &parts[3] : nullptr);
    case ExpressionKind::arithmetic: return arithmetic(expression.name, parts[0], parts[1]);
    case ExpressionKind::negate:
    case ExpressionKind::plus:
      if (parts[0].is_undefined()) use_of_undefined(parts[0]);
      if (!parts[0].is_number()) error(fmt::format("a {} has no sign", parts[0].type_name()));
      if (expression.kind == ExpressionKind::plus) return parts[0].is_float() ? parts[0] : Value(parts[0].integer());
      return parts[0].is_float() ? Value(-parts[0].number()) : arithmetic("-", Value(0), parts[0]);
    case ExpressionKind::concat: {
      MarkedText out;
      for (const Value& part : parts) {
        out.append(to_text(part));
        check_size(out);
      }
      return text(std::move(out));
    }
    default: fail(ErrorKind::internal, "chat template: an expression of kind {}", int(expression.kind));
  }
}

void Interpreter::evaluate_arguments(const Expression& expression, Arguments& arguments) {
  for (size_t i = 1; i < expression.parts.size(); ++i) {
    const Expression& part = *expression.parts[i];
    if (part.kind != ExpressionKind::unpack) {
      arguments.values.push_back(evaluate(part));
      continue;
    }
    for (Value& value : iterate(evaluate(*part.parts[0]))) arguments.values.push_back(std::move(value));
  }
  const auto put = [&](const std::string& name, Value value) {
    for (const auto& [known, old] : arguments.named)
      if (known == name) error(fmt::format("the argument '{}' is given twice", name));
    arguments.named.emplace_back(name, std::move(value));
  };
  for (const auto& [name, expressed] : expression.named) {
    Value value = evaluate(*expressed);
    if (!name.empty()) {
      put(name, std::move(value));
      continue;
    }
    if (value.is_undefined()) use_of_undefined(value);
    if (value.dict() == nullptr) error(fmt::format("'**' stands before a dict, not a {}", value.type_name()));
    for (const auto& [key, item] : value.dict()->items)
      put(text_argument(*this, key, "the name of an argument").bytes(), item);
  }
}

Value Interpreter::evaluate_test(const Expression& expression) {
  const Value value = evaluate(*expression.parts[0]);
  if (expression.test == nullptr) no_test(expression.name);
  Arguments arguments;
  arguments.of = "test '" + expression.name + "'";
  evaluate_arguments(expression, arguments);
  return Value(expression.test(*this, value, arguments));
}

Value Interpreter::evaluate_call(const Expression& expression) {
  const Value callee = evaluate(*expression.parts[0]);
  Arguments arguments;
  evaluate_arguments(expression, arguments);
  return call(callee, arguments);
}

Value Interpreter::evaluate_filter(const Expression& expression, const Value* input) {
  const Deeper deeper(*this, expression.line);
  Value value;
  if (expression.parts[0]) {
    const Expression& inner = *expression.parts[0];  // a chain on a block begins with the block's text
    value = input != nullptr ? evaluate_filter(inner, input) : evaluate(inner);
  } else {
    value = *input;
  }
  if (expression.filter == nullptr) no_filter(expression.name);
  Arguments arguments;
  arguments.of = "filter '" + expression.name + "'";
  evaluate_arguments(expression, arguments);
  return expression.filter(*this, value, arguments);
}

}  // namespace hadal::jinja
