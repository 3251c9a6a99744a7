// Values of the template language: Python's, as far as templates meet them. All but namespaces and used-up generators
// are immutable (templates run in Python's immutable sandbox), so values are shared, never copied deep. Lists and dicts
// know how deep they nest; the interpreter refuses deep ones, so that walking and freeing them is safe.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "jinja/marked_text.h"

namespace hadal::jinja {

struct Statement;
struct Scope;
struct Value;
__extension__ typedef __int128 Integer;  // Python's have no end; ours have an error there

struct None {};

struct Undefined {
  std::string why;  // "'x' is undefined": the message when it is used for more than printing and testing
};

enum class ListKind : uint8_t { list, tuple, generator, keys, values, items, range };

struct ListData {
  std::vector<Value> items;
  ListKind kind = ListKind::list;
  bool is_parts = false;  // the content of a message in parts: not to be printed as a whole
  bool is_group = false;  // what groupby gives: a tuple whose items are named grouper and list
  int depth = 1;
  mutable size_t used = 0;  // generator: how many items were taken
};

struct DictData {
  std::vector<std::pair<Value, Value>> items;  // in order of insertion
  std::unordered_map<std::string_view, size_t> by_text;
  int depth = 1;
  bool is_part = false;  // of the content of a message: not to be printed as a whole

  const Value* find(std::string_view key) const;  // a text key
  void set(std::shared_ptr<const MarkedText> key, Value value);
};

struct NamespaceData {
  std::vector<std::pair<std::string, Value>> items;
};

struct LoopData;

// A joiner or a cycler: values that are given one after the other.
struct Turns {
  std::vector<Value> items;
  size_t next = 0;
  bool is_cycler = false;  // begins again behind the last; a joiner stays at the last
};

// Something to call: a function by name, a method of a value, a macro with the scope it was defined in.
struct Callable {
  std::string name;
  std::shared_ptr<const Value> self;  // of a method
  const Statement* macro = nullptr;
  Scope* scope = nullptr;
  std::shared_ptr<Turns> turns;  // of a joiner or cycler
  int depth = 1;
};

using TextPtr = std::shared_ptr<const MarkedText>;
using ListPtr = std::shared_ptr<const ListData>;
using DictPtr = std::shared_ptr<const DictData>;
using NamespacePtr = std::shared_ptr<NamespaceData>;
using LoopPtr = std::shared_ptr<LoopData>;
using CallablePtr = std::shared_ptr<const Callable>;

struct Value {
  std::variant<std::shared_ptr<const Undefined>, None, bool, Integer, double, TextPtr, ListPtr, DictPtr, NamespacePtr,
               LoopPtr, CallablePtr>
      v;

  Value() = default;  // undefined, without a message
  Value(None) : v(None{}) {}
  Value(bool x) : v(x) {}
  Value(int x) : v(Integer(x)) {}
  Value(int64_t x) : v(Integer(x)) {}
  Value(Integer x) : v(x) {}
  Value(double x) : v(x) {}
  Value(TextPtr x) : v(std::move(x)) {}
  Value(ListPtr x) : v(std::move(x)) {}
  Value(DictPtr x) : v(std::move(x)) {}
  Value(NamespacePtr x) : v(std::move(x)) {}
  Value(LoopPtr x) : v(std::move(x)) {}
  Value(CallablePtr x) : v(std::move(x)) {}
  Value(const char*) = delete;  // would be a bool

  bool is_undefined() const { return v.index() == 0; }
  bool is_none() const { return std::holds_alternative<None>(v); }
  bool is_bool() const { return std::holds_alternative<bool>(v); }
  bool is_integer() const { return std::holds_alternative<Integer>(v); }  // a bool is none, unlike in Python
  bool is_float() const { return std::holds_alternative<double>(v); }
  bool is_number() const { return is_bool() || is_integer() || is_float(); }
  const MarkedText* text() const { return as<TextPtr>(); }
  const ListData* list() const { return as<ListPtr>(); }
  const DictData* dict() const { return as<DictPtr>(); }
  NamespaceData* space() const { return as<NamespacePtr>(); }
  LoopData* loop() const { return as<LoopPtr>(); }
  const Callable* callable() const { return as<CallablePtr>(); }
  bool is_sequence() const {
    return list() != nullptr &&
           (list()->kind == ListKind::list || list()->kind == ListKind::tuple || list()->kind == ListKind::range);
  }
  bool is_list(ListKind kind) const { return list() != nullptr && list()->kind == kind; }

  Integer integer() const {
    return is_bool() ? Integer(std::get<bool>(v)) : std::get<Integer>(v);
  }  // of bool or integer
  double number() const { return is_float() ? std::get<double>(v) : double(integer()); }
  int depth() const;              // of nesting; 0 for what holds nothing
  const char* type_name() const;  // Python's name of the type

 private:
  template <class Pointer>
  auto as() const -> decltype(std::declval<Pointer>().get()) {
    const Pointer* p = std::get_if<Pointer>(&v);
    return p != nullptr ? p->get() : nullptr;
  }
};

// A running loop: what `loop` shows. Items that a filter rejects are dropped when they are met.
struct LoopData {
  std::vector<Value> items;
  size_t next = 0;  // the first item not yet looked at
  int depth = 1;
  int64_t index0 = -1;
  bool has_ahead = false;
  int64_t level = 0;                     // how many calls of itself a recursive loop is deep
  const Statement* filter = nullptr;     // the loop, while it runs, if it filters its items
  const Statement* recursive = nullptr;  // the loop, while it runs, if it may be called
  Scope* around = nullptr;               // of a recursive loop, while it runs
  Value previous, current, ahead;
  std::optional<Value> changed;
};

inline Value text_value(MarkedText text) { return Value(TextPtr(std::make_shared<const MarkedText>(std::move(text)))); }
inline Value author_text(std::string text) { return text_value(MarkedText(std::move(text), true)); }
Value undefined(std::string why);

// JSON text as a value: objects keep their order, the last of equal keys counts. Its strings carry this mark.
// Errors (invalid): not JSON, deeper than 100, integers beyond 64 bits; `what` names it in the message.
Value value_from_json(std::string_view json, const std::string& what, bool from_template = false);

std::string integer_text(Integer value);
std::string float_text(double value);  // Python's repr: shortest that reads back, "1.0", "1e+16", "nan"

}  // namespace hadal::jinja
