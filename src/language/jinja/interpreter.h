// The interpreter of a template's tree: one per rendering. It counts steps, bytes and depth, and gives every error its
// line.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "jinja/limits.h"
#include "jinja/syntax.h"

namespace hadal::jinja {

// Variables of one block. Reading goes outwards, writing stays.
struct Scope {
  Scope* outer = nullptr;
  bool kept = false;  // a macro was defined inside: it lives as long as the rendering
  std::vector<std::pair<std::string_view, Value>> names;  // views of the tree's names

  void set(std::string_view name, Value value);
};

// The arguments of a call of something built in, by position or name.
struct Arguments {
  std::vector<Value> values;
  std::vector<std::pair<std::string, Value>> named;
  std::string of;  // "filter 'indent'", for messages
  size_t taken = 0;

  const Value* find(size_t position, std::string_view name);  // null when not given
};

class Interpreter {
 public:
  // strict: what is undefined may only be tested and replaced.
  Interpreter(const ChatLimits& limits, int64_t clock, bool strict = false)
      : clock(clock), limits_(limits), strict_(strict) {}
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  MarkedText render(const Block& block, const std::vector<std::pair<std::string, Value>>& variables);

  // Limits and errors
  void step(int64_t n = 1);
  void charge(size_t bytes);  // before they are made
  [[noreturn]] void error(const std::string& what) const;
  [[noreturn]] void unsupported(const std::string& what) const;
  [[noreturn]] void use_of_undefined(const Value& value) const;
  void refuse_undefined(const Value& value) const;       // where the template is strict
  void finish(Arguments& arguments, size_t most) const;  // refuses arguments that nobody asked for

  // Making values, counted
  Value text(MarkedText text);
  Value list(std::vector<Value> items, ListKind kind = ListKind::list);
  Value dict(std::vector<std::pair<Value, Value>> items);  // the last of equal keys counts
  Value space();
  Value method(std::string name, const Value& self);
  Value turns(std::shared_ptr<Turns> turns);

  // Python's ways with them: operators.cpp
  bool truth(const Value& value);
  bool equal(const Value& a, const Value& b);
  int order(const Value& a, const Value& b, const char* sign);  // -1, 0, 1; 2 for a NaN
  bool contains(const Value& container, const Value& item);
  Value arithmetic(const std::string& sign, const Value& a, const Value& b);
  Value format_percent(const MarkedText& format, const Value& values);  // formatting.cpp
  Value format_braces(const MarkedText& format, Arguments& arguments);
  Value slice(const Value& object, const Value* from, const Value* to, const Value* step);
  std::vector<Value> iterate(const Value& value);  // uses a generator up
  int64_t length(const Value& value);
  const Value* look_up(const DictData& dict, const Value& key);
  int64_t small_integer(const Value& value, const char* what);

  // As text: format.cpp
  MarkedText to_text(const Value& value);  // str()
  void repr(const Value& value, MarkedText& out);
  void check_size(const MarkedText& text) const;

  // Attributes, items, calls: methods.cpp
  Value attribute(const Value& object, const std::string& name);
  Value item(const Value& object, const Value& key);
  Value item_path(const Value& object, const Value& path);  // "a.b.0", as filters take it
  Value call(const Value& callable, Arguments& arguments);

  // Names of filters and tests that there are not.
  [[noreturn]] void no_filter(const std::string& name) const;
  [[noreturn]] void no_test(const std::string& name) const;

  const int64_t clock;

 private:
  struct Deeper;
  enum class Flow : uint8_t { normal, break_loop, continue_loop };
  using ScopePtr = std::unique_ptr<Scope>;
  struct Inner;

  Value evaluate(const Expression& expression);
  Value evaluate_name(const Expression& expression);
  Value evaluate_compare(const Expression& expression);
  Value evaluate_parts(const Expression& expression);
  Value evaluate_call(const Expression& expression);
  Value evaluate_test(const Expression& expression);
  Value evaluate_filter(const Expression& expression, const Value* input);
  void evaluate_arguments(const Expression& expression, Arguments& arguments);

  Flow run(const Block& block);
  Flow run(const Statement& statement);
  Flow run_inside(const Block& block, Scope* outer);  // in a scope of its own
  void run_template_block(const Statement& statement);
  Flow run_loop(const Statement& statement, const Value& iterable, int64_t level);  // loops.cpp
  void run_with(const Statement& statement);
  void run_block_into(const Statement& statement);  // set_block, filter_block, generation
  MarkedText captured(const Block& block);
  void print(const MarkedText& text);
  void assign(const Expression& target, const Value& value);
  bool take_item(LoopData& loop, Value& item);  // the next that passes the filter
  Value loop_attribute(const Value& loop, const std::string& name);
  int64_t loop_length(LoopData& loop);
  Value call_loop(LoopData& loop, Arguments& arguments);
  Value call_loop_method(LoopData& loop, const std::string& name, Arguments& arguments);
  Value macro_of(const Statement& statement);  // macros.cpp
  void run_call_block(const Statement& statement);
  Value call_macro(const Callable& macro, Arguments& arguments);
  void bind_named(const Statement& macro, const Arguments& arguments);

  const ChatLimits& limits_;
  const bool strict_;
  int64_t steps_ = 0, bytes_ = 0;
  int depth_ = 0, line_ = 0;
  Scope* scope_ = nullptr;
  Scope* top_ = nullptr;  // of what the template sets outside of loops, macros and blocks
  MarkedText* output_ = nullptr;
  std::vector<ScopePtr> kept_scopes_;
  std::vector<NamespacePtr> spaces_;  // all, so that cycles through them are cut in the end
};

// Method calls on built-in values and built-in functions; methods.cpp, functions.cpp.
Value call_text_method(Interpreter& in, const MarkedText& self, const std::string& name, Arguments& arguments);
Value call_function(Interpreter& in, const std::string& name, Arguments& arguments);
std::string strftime_text(Interpreter& in, int64_t clock, const std::string& format);

// json.dumps as transformers sets it.
struct JsonStyle {
  bool ascii = false, sort_keys = false, indented = false;
  MarkedText indent, item_separator, key_separator;
};
void write_json(Interpreter& in, const Value& value, const JsonStyle& style, int level, MarkedText& out);

const MarkedText& text_argument(Interpreter& in, const Value& value, const char* what);

}  // namespace hadal::jinja
