#include "jinja/interpreter.h"

#include <algorithm>

namespace hadal::jinja {

// One level of evaluation: keeps the line and refuses to go deeper than the stack bears.
struct Interpreter::Deeper {
  Deeper(Interpreter& in, int line) : in_(in), line_(in.line_) {
    in.line_ = line;
    in.step();
    if (++in.depth_ <= in.limits_.run_depth) return;
    --in.depth_;
    in.error(fmt::format("the template runs deeper than the limit of {} levels", in.limits_.run_depth));
  }
  ~Deeper() {
    --in_.depth_;
    in_.line_ = line_;
  }
  Interpreter& in_;
  int line_;
};

// A scope inside the present one (or another), for as long as this lives.
struct Interpreter::Inner {
  Inner(Interpreter& in, Scope* outer) : in_(in), before_(in.scope_), scope_(std::make_unique<Scope>()) {
    scope_->outer = outer;
    in.scope_ = scope_.get();
  }
  ~Inner() {
    in_.scope_ = before_;
    if (scope_->kept) in_.kept_scopes_.push_back(std::move(scope_));
  }
  Interpreter& in_;
  Scope* before_;
  ScopePtr scope_;
};

namespace {

// Sends what is written to another text for as long as this lives, also when an error ends it.
struct Redirect {
  Redirect(MarkedText*& place, MarkedText& to) : place_(place), before_(std::exchange(place, &to)) {}
  ~Redirect() { place_ = before_; }
  Redirect(const Redirect&) = delete;
  Redirect& operator=(const Redirect&) = delete;
  MarkedText*& place_;
  MarkedText* before_;
};

}  // namespace

void Scope::set(std::string_view name, Value value) {
  for (auto& [known, old] : names) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  names.emplace_back(name, std::move(value));
}

const Value* Arguments::find(size_t position, std::string_view name) {
  if (position < values.size()) return &values[position];
  for (const auto& [known, value] : named) {
    if (known != name) continue;
    ++taken;
    return &value;
  }
  return nullptr;
}

Interpreter::~Interpreter() {
  for (const ScopePtr& scope : kept_scopes_) scope->names.clear();
  for (const NamespacePtr& space : spaces_) space->items.clear();
}

MarkedText Interpreter::render(const Block& block, const std::vector<std::pair<std::string, Value>>& variables) {
  MarkedText out;
  Scope root;  // the caller's variables; what the template sets hides them
  for (const auto& [name, value] : variables) root.names.emplace_back(name, value);
  output_ = &out;
  Inner inner(*this, &root);
  run(block);
  for (const NamespacePtr& space : spaces_) space->items.clear();
  return out;
}

void Interpreter::step(int64_t n) {
  steps_ += n;
  if (steps_ > limits_.steps) error(fmt::format("the template takes more than the limit of {} steps", limits_.steps));
}

void Interpreter::charge(size_t bytes) {
  steps_ += int64_t(bytes / 64);
  bytes_ += int64_t(std::min<size_t>(bytes, size_t(1) << 60));
  if (bytes_ > limits_.work_bytes)
    error(fmt::format("the template makes more than the limit of {} bytes of text and lists", limits_.work_bytes));
}

void Interpreter::error(const std::string& what) const {
  fail(ErrorKind::invalid, "chat template, line {}: {}", line_, what);
}
void Interpreter::unsupported(const std::string& what) const {
  fail(ErrorKind::unsupported, "chat template, line {}: {} is not supported", line_, what);
}

void Interpreter::use_of_undefined(const Value& value) const {
  const auto& why = std::get<std::shared_ptr<const Undefined>>(value.v);
  error(why ? why->why : "an undefined value is used");
}

void Interpreter::finish(Arguments& arguments, size_t most) const {
  if (arguments.values.size() > most)
    error(fmt::format("{} takes at most {} arguments, not {}", arguments.of, most, arguments.values.size()));
  if (arguments.taken >= arguments.named.size()) return;
  error(fmt::format("{} takes no such argument as '{}'", arguments.of, arguments.named.back().first));
}

void Interpreter::check_size(const MarkedText& text) const {
  if (int64_t(text.size()) > limits_.text_bytes)
    error(fmt::format("the template makes a text longer than the limit of {} bytes", limits_.text_bytes));
}

Value Interpreter::text(MarkedText text) {
  check_size(text);
  charge(text.size() + 64);
  return text_value(std::move(text));
}

Value Interpreter::list(std::vector<Value> items, ListKind kind) {
  charge(items.size() * sizeof(Value) + 64);
  auto data = std::make_shared<ListData>();
  for (const Value& item : items) data->depth = std::max(data->depth, item.depth() + 1);
  if (data->depth > 110) error("a list nests deeper than 110 levels");
  data->items = std::move(items);
  data->kind = kind;
  return Value(ListPtr(std::move(data)));
}

Value Interpreter::dict(std::vector<std::pair<Value, Value>> items) {
  charge(items.size() * 3 * sizeof(Value) + 64);
  auto data = std::make_shared<DictData>();
  for (auto& [key, value] : items) {
    if (key.text() != nullptr) {
      data->set(std::get<TextPtr>(key.v), std::move(value));
      continue;
    }
    const Value* known = look_up(*data, key);
    data->depth = std::max(data->depth, std::max(key.depth(), value.depth()) + 1);
    if (known != nullptr) {
      *const_cast<Value*>(known) = std::move(value);  // ours until it is returned
    } else {
      data->items.emplace_back(std::move(key), std::move(value));
    }
  }
  if (data->depth > 110) error("a dict nests deeper than 110 levels");
  return Value(DictPtr(std::move(data)));
}

Value Interpreter::space() {
  charge(256);
  spaces_.push_back(std::make_shared<NamespaceData>());
  return Value(spaces_.back());
}

Value Interpreter::method(std::string name, const Value& self) {
  auto callable = std::make_shared<Callable>();
  callable->name = std::move(name);
  callable->self = std::make_shared<const Value>(self);
  callable->depth = self.depth() + 1;
  return Value(CallablePtr(std::move(callable)));
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
    case StatementKind::loop: return run_loop(statement);
    case StatementKind::set: assign(*statement.targets[0], evaluate(*statement.expressions[0])); break;
    case StatementKind::with: run_with(statement); break;
    case StatementKind::macro: {
      auto macro = std::make_shared<Callable>();
      macro->name = statement.name;
      macro->macro = &statement;
      macro->scope = scope_;
      for (Scope* scope = scope_; scope != nullptr; scope = scope->outer) scope->kept = true;
      charge(sizeof(Scope) + sizeof(Callable));
      scope_->set(statement.name, Value(CallablePtr(std::move(macro))));
      break;
    }
    case StatementKind::set_block:
    case StatementKind::filter_block:
    case StatementKind::generation: run_block_into(statement); break;
    case StatementKind::break_loop: return Flow::break_loop;
    case StatementKind::continue_loop: return Flow::continue_loop;
  }
  return Flow::normal;
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
    print(*value.text());
  }
}

void Interpreter::run_with(const Statement& statement) {
  std::vector<Value> values;
  for (const ExpressionPtr& expression : statement.expressions) values.push_back(evaluate(*expression));
  Inner inner(*this, scope_);
  for (size_t i = 0; i < values.size(); ++i) assign(*statement.targets[i], values[i]);
  run(statement.bodies[0]);
}

bool Interpreter::take_item(LoopData& loop, Value& item) {
  while (loop.next < loop.items.size()) {
    step();
    item = loop.items[loop.next++];
    if (loop.filter == nullptr) return true;
    Inner inner(*this, scope_);
    assign(*loop.filter->targets[0], item);
    if (truth(evaluate(*loop.filter->expressions[1]))) return true;
  }
  return false;
}

Interpreter::Flow Interpreter::run_loop(const Statement& statement) {
  auto loop = std::make_shared<LoopData>();
  const Value iterable = evaluate(*statement.expressions[0]);
  loop->depth = iterable.depth() + 1;
  loop->items = iterate(iterable);
  charge(loop->items.size() * sizeof(Value));
  if (statement.expressions[1]) loop->filter = &statement;
  struct End {
    LoopData& loop;
    ~End() { loop.filter = nullptr; }
  } end{*loop};
  while (true) {
    Value item;
    if (loop->has_ahead) {
      item = std::move(loop->ahead);
      loop->has_ahead = false;
    } else if (!take_item(*loop, item)) {
      break;
    }
    ++loop->index0;
    loop->previous = std::exchange(loop->current, item);
    Inner inner(*this, scope_);
    scope_->set("loop", Value(loop));
    assign(*statement.targets[0], item);
    if (run(statement.bodies[0]) == Flow::break_loop) break;
  }
  if (loop->index0 < 0 && statement.bodies.size() > 1) {
    Inner inner(*this, scope_);
    return run(statement.bodies[1]);
  }
  return Flow::normal;
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
  std::vector<std::pair<Value, Value>> named;
  for (const auto& [name, value] : arguments.named) {
    if (std::find(macro.parameters.begin(), macro.parameters.end(), name) != macro.parameters.end()) {
      const size_t position =
          size_t(std::find(macro.parameters.begin(), macro.parameters.end(), name) - macro.parameters.begin());
      if (position < arguments.values.size() && !macro.takes_kwargs)
        error(fmt::format("macro '{}' is given '{}' twice", macro.name, name));
      continue;
    }
    if (!macro.takes_kwargs) error(fmt::format("macro '{}' takes no argument named '{}'", macro.name, name));
    named.emplace_back(author_text(name), value);
  }
  if (macro.takes_kwargs) scope_->set("kwargs", dict(std::move(named)));
  if (macro.takes_varargs) scope_->set("varargs", list(std::move(extra), ListKind::tuple));
  run(macro.bodies[0]);
  return text(std::move(out));
}

}  // namespace hadal::jinja
