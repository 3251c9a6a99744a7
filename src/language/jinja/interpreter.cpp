#include "jinja/interpreter.h"

#include <algorithm>

namespace hadal::jinja {

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

void Interpreter::refuse_undefined(const Value& value) const {
  if (strict_ && value.is_undefined()) use_of_undefined(value);
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

Value Interpreter::turns(std::shared_ptr<Turns> turns) {
  charge(turns->items.size() * sizeof(Value) + 256);
  auto callable = std::make_shared<Callable>();
  callable->name = turns->is_cycler ? "cycler" : "joiner";
  for (const Value& item : turns->items) callable->depth = std::max(callable->depth, item.depth() + 1);
  callable->turns = std::move(turns);
  return Value(CallablePtr(std::move(callable)));
}

}  // namespace hadal::jinja
