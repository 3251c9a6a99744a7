// Macros, and the blocks that call them.
#include <algorithm>

#include "jinja/levels.h"

namespace hadal::jinja {

// A macro sees the scopes that it stands in, which therefore live on.
Value Interpreter::macro_of(const Statement& statement) {
  auto macro = std::make_shared<Callable>();
  macro->name = statement.name;
  macro->macro = &statement;
  macro->scope = scope_;
  for (Scope* scope = scope_; scope != nullptr; scope = scope->outer) scope->kept = true;
  charge(sizeof(Scope) + sizeof(Callable));
  return Value(CallablePtr(std::move(macro)));
}

// {% call(parameters) macro(arguments) %}body{% endcall %}: the macro is given the body as its `caller`.
void Interpreter::run_call_block(const Statement& statement) {
  const Expression& expression = *statement.targets[0];
  const Value callee = evaluate(*expression.parts[0]);
  Arguments arguments;
  evaluate_arguments(expression, arguments);
  if (arguments.find(arguments.values.size(), "caller") != nullptr) error("the argument 'caller' is given twice");
  arguments.named.emplace_back("caller", macro_of(statement));
  print(to_text(call(callee, arguments)));
}

// What a macro is given beyond its parameters, by name.
void Interpreter::bind_named(const Statement& macro, const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> more;
  bool has_caller = false;
  for (const auto& [name, value] : arguments.named) {
    const auto parameter = std::find(macro.parameters.begin(), macro.parameters.end(), name);
    if (parameter != macro.parameters.end()) {
      const bool twice = size_t(parameter - macro.parameters.begin()) < arguments.values.size() && !macro.takes_kwargs;
      if (twice) error(fmt::format("macro '{}' is given '{}' twice", macro.name, name));
    } else if (name == "caller" && macro.takes_caller) {
      scope_->set("caller", value);
      has_caller = true;
    } else {
      if (!macro.takes_kwargs) error(fmt::format("macro '{}' takes no argument named '{}'", macro.name, name));
      more.emplace_back(author_text(name), value);
    }
  }
  if (macro.takes_caller && !has_caller) scope_->set("caller", undefined("the macro was not called by a {% call %}"));
  if (macro.takes_kwargs) scope_->set("kwargs", dict(std::move(more)));
}

Value Interpreter::call_macro(const Callable& callable, Arguments& arguments) {
  const Statement& macro = *callable.macro;
  const size_t n = macro.parameters.size();
  if (arguments.values.size() > n && !macro.takes_varargs) {
    error(fmt::format("macro '{}' takes not more than {} arguments, not {}", macro.name, n, arguments.values.size()));
  }
  const Deeper deeper(*this, line_);
  MarkedText out;
  const Redirect redirect(output_, out);
  std::vector<Value> extra(arguments.values.begin() + int64_t(std::min(n, arguments.values.size())),
                           arguments.values.end());
  Inner inner(*this, callable.scope);
  const size_t first_default = n - macro.expressions.size();
  for (size_t i = 0; i < n; ++i) {
    const Value* given = arguments.find(i, macro.parameters[i]);
    if (given != nullptr) {
      scope_->set(macro.parameters[i], *given);
    } else if (i >= first_default) {
      scope_->set(macro.parameters[i], evaluate(*macro.expressions[i - first_default]));
    } else {
      scope_->set(macro.parameters[i], undefined(fmt::format("parameter '{}' was not provided", macro.parameters[i])));
    }
  }
  bind_named(macro, arguments);
  if (macro.takes_varargs) scope_->set("varargs", list(std::move(extra), ListKind::tuple));
  run(macro.bodies[0]);
  return text(std::move(out));
}

}  // namespace hadal::jinja
