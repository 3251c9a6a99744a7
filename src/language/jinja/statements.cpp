// The run of a template's statements, but for loops and macros.
#include "jinja/levels.h"

namespace hadal::jinja {

MarkedText Interpreter::render(const Block& block, const std::vector<std::pair<std::string, Value>>& variables) {
  MarkedText out;
  Scope root;  // the caller's variables; what the template sets hides them
  for (const auto& [name, value] : variables) root.names.emplace_back(name, value);
  output_ = &out;
  Inner inner(*this, &root);
  top_ = scope_;
  run(block);
  for (const NamespacePtr& space : spaces_) space->items.clear();
  return out;
}

void Interpreter::print(const MarkedText& text) {
  charge(text.size());
  output_->append(text);
  check_size(*output_);
}

Interpreter::Flow Interpreter::run(const Block& block) {
  for (const auto& statement : block) {
    const Flow flow = run(*statement);
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run(const Statement& statement) {
  const Deeper deeper(*this, statement.line);
  switch (statement.kind) {
    case StatementKind::text: print(statement.text); break;
    case StatementKind::print: print(to_text(evaluate(*statement.expressions[0]))); break;
    case StatementKind::condition:
      for (size_t i = 0; i < statement.bodies.size(); ++i) {
        if (i >= statement.expressions.size() || truth(evaluate(*statement.expressions[i])))
          return run(statement.bodies[i]);
      }
      break;
    case StatementKind::loop: return run_loop(statement, evaluate(*statement.expressions[0]), 0);
    case StatementKind::set: assign(*statement.targets[0], evaluate(*statement.expressions[0])); break;
    case StatementKind::with: run_with(statement); break;
    case StatementKind::macro: scope_->set(statement.name, macro_of(statement)); break;
    case StatementKind::call_block: run_call_block(statement); break;
    case StatementKind::block: run_template_block(statement); break;
    case StatementKind::autoescape:
      if (truth(evaluate(*statement.expressions[0]))) unsupported("{% autoescape %} that escapes");
      return run_inside(statement.bodies[0], scope_);
    case StatementKind::unavailable: unsupported(fmt::format("the tag {{% {} %}}", statement.name));
    case StatementKind::set_block:
    case StatementKind::filter_block:
    case StatementKind::generation: run_block_into(statement); break;
    case StatementKind::break_loop: return Flow::break_loop;
    case StatementKind::continue_loop: return Flow::continue_loop;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_inside(const Block& block, Scope* outer) {
  Inner inner(*this, outer);
  return run(block);
}

// A block of Jinja's inheritance, in its own template: its text, where the loop's variables around it are not seen.
void Interpreter::run_template_block(const Statement& statement) {
  if (statement.required) error(fmt::format("the required block '{}' has no text", statement.name));
  run_inside(statement.bodies[0], statement.scoped ? scope_ : top_);
}

MarkedText Interpreter::captured(const Block& block) {
  MarkedText out;
  const Redirect redirect(output_, out);
  Inner inner(*this, scope_);
  run(block);
  return out;
}

void Interpreter::run_block_into(const Statement& statement) {
  Value value = text(captured(statement.bodies[0]));
  const bool filtered = !statement.expressions.empty() && statement.expressions[0] != nullptr;
  if (filtered) value = evaluate_filter(*statement.expressions[0], &value);
  if (statement.kind == StatementKind::set_block) {
    assign(*statement.targets[0], value);
  } else {
    if (value.text() == nullptr) error(fmt::format("the filter of a block gives a {}, not a str", value.type_name()));
    MarkedText text = *value.text();
    if (statement.kind == StatementKind::generation) text.set_generated();
    print(text);
  }
}

void Interpreter::run_with(const Statement& statement) {
  std::vector<Value> values;
  for (const ExpressionPtr& expression : statement.expressions) values.push_back(evaluate(*expression));
  Inner inner(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) assign(*statement.targets[i], values[i]);
  run(statement.bodies[0]);
}

void Interpreter::assign(const Expression& target, const Value& value) {
  if (target.kind == ExpressionKind::name) {
    scope_->set(target.name, value);
  } else if (target.kind == ExpressionKind::tuple) {
    const std::vector<Value> parts = iterate(value);
    if (parts.size() != target.parts.size())
      error(fmt::format("{} values cannot be assigned to {} names", parts.size(), target.parts.size()));
    for (size_t i = 0; i < parts.size(); ++i) assign(*target.parts[i], parts[i]);
  } else {
    const Value object = evaluate(*target.parts[0]);
    if (object.space() == nullptr)
      error(fmt::format("'{}' is no namespace: its attribute '{}' cannot be set", target.parts[0]->name, target.name));
    if (target.name[0] == '_') error(fmt::format("the attribute '{}' of a namespace begins with '_'", target.name));
    for (auto& [name, old] : object.space()->items) {
      step();
      if (name == target.name) {
        old = value;
        return;
      }
    }
    charge(sizeof(Value) + target.name.size());
    object.space()->items.emplace_back(target.name, value);
  }
}

}  // namespace hadal::jinja
