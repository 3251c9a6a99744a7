// The loops of templates: their run, and what `loop` shows and does.
#include "jinja/levels.h"

namespace hadal::jinja {

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

Interpreter::Flow Interpreter::run_loop(const Statement& statement, const Value& iterable, int64_t level) {
  auto loop = std::make_shared<LoopData>();
  loop->depth = iterable.depth() + 1;
  loop->level = level;
  loop->items = iterate(iterable);
  charge(loop->items.size() * sizeof(Value));
  if (statement.expressions[1]) loop->filter = &statement;
  if (statement.recursive) loop->recursive = &statement, loop->around = scope_;
  struct End {
    LoopData& loop;
    ~End() { loop.filter = loop.recursive = nullptr; }
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
  if (loop->index0 < 0 && statement.bodies.size() > 1) return run_inside(statement.bodies[1], scope_);
  return Flow::normal;
}

// loop(items) of a recursive loop: the text of the same loop over these items, one level deeper.
Value Interpreter::call_loop(LoopData& loop, Arguments& arguments) {
  arguments.of = "a recursive loop";
  finish(arguments, 1);
  if (loop.recursive == nullptr) error("a loop can be called while it runs, and only one that says 'recursive'");
  if (arguments.values.empty()) error("a recursive loop wants what to walk through");
  const Statement& statement = *loop.recursive;
  const Deeper deeper(*this, statement.line);
  MarkedText out;
  const Redirect redirect(output_, out);
  Inner inner(*this, loop.around);
  run_loop(statement, arguments.values[0], loop.level + 1);
  return text(std::move(out));
}

Value Interpreter::call_loop_method(LoopData& loop, const std::string& name, Arguments& arguments) {
  finish(arguments, 1 << 20);
  if (name == "cycle") {
    if (arguments.values.empty()) error("loop.cycle wants values");
    return arguments.values[size_t(loop.index0) % arguments.values.size()];
  }
  Value now = list(arguments.values, ListKind::tuple);
  const bool changed = !loop.changed || !equal(*loop.changed, now);
  loop.depth = std::max(loop.depth, now.depth() + 1);
  loop.changed = std::move(now);
  return Value(changed);
}

int64_t Interpreter::loop_length(LoopData& loop) {
  if (loop.filter != nullptr) {  // what passes of the rest is put in its place
    std::vector<Value> rest;
    for (Value item; take_item(loop, item);) rest.push_back(item);
    loop.filter = nullptr;
    loop.items = std::move(rest);
    loop.next = 0;
  }
  return loop.index0 + 1 + loop.has_ahead + int64_t(loop.items.size() - loop.next);
}

Value Interpreter::loop_attribute(const Value& value, const std::string& name) {
  LoopData& loop = *value.loop();
  if (name == "index0") return Value(loop.index0);
  if (name == "index") return Value(loop.index0 + 1);
  if (name == "first") return Value(loop.index0 == 0);
  if (name == "depth") return Value(loop.level + 1);
  if (name == "depth0") return Value(loop.level);
  if (name == "length") return Value(loop_length(loop));
  if (name == "revindex") return Value(loop_length(loop) - loop.index0);
  if (name == "revindex0") return Value(loop_length(loop) - loop.index0 - 1);
  if (name == "previtem") return loop.index0 == 0 ? undefined("there is no previous item") : loop.previous;
  if (name == "cycle" || name == "changed") return method(name, value);
  if (name == "last" || name == "nextitem") {
    if (!loop.has_ahead) loop.has_ahead = take_item(loop, loop.ahead);
    if (name == "last") return Value(!loop.has_ahead);
    return loop.has_ahead ? loop.ahead : undefined("there is no next item");
  }
  return undefined(fmt::format("loop has no attribute '{}'", name));
}

}  // namespace hadal::jinja
