// Tests: what may stand behind `is`, and the names that select and reject take.
#include <cmath>
#include <unordered_map>

#include "jinja/characters.h"
#include "jinja/interpreter.h"

namespace hadal::jinja {
namespace {

template <class Test>
bool plain(Interpreter& in, Arguments& arguments, const Test& test) {
  in.finish(arguments, 0);
  return test();
}

const Value& other(Interpreter& in, Arguments& arguments, const char* name) {
  const Value* value = arguments.find(0, name);
  in.finish(arguments, 1);
  if (value == nullptr) in.error(arguments.of + " wants something to compare with");
  return *value;
}

bool remainder_is(Interpreter& in, const Value& input, const Value& by, int wanted) {
  const Value rest = in.arithmetic("%", input, by);
  return in.equal(rest, Value(wanted));
}

bool case_is(Interpreter& in, const Value& input, const char* method) {
  Arguments none;
  return in.truth(call_text_method(in, in.to_text(input), method, none));
}

bool iterable(const Value& v) {
  return v.is_undefined() || v.text() != nullptr || v.list() != nullptr || v.dict() != nullptr || v.loop() != nullptr;
}
bool sequence(const Value& v) {
  return v.is_undefined() || v.text() != nullptr || v.is_sequence() || v.dict() != nullptr;
}

// Whether a filter or a test of this name is there.
template <class Find>
bool is_named(Interpreter& in, const Value& name, Arguments& arguments, const Find& find) {
  in.finish(arguments, 0);
  if (name.is_undefined()) return false;
  return name.text() != nullptr && find(name.text()->bytes()) != nullptr;
}

// Python's `is`, as far as equal values are known to be one object or two.
bool same(Interpreter& in, const Value& a, const Value& b) {
  if (a.v.index() != b.v.index()) return false;
  if (a.is_none() || a.is_undefined()) return a.is_none();
  if (a.is_bool()) return a.integer() == b.integer();
  if (a.list() != nullptr || a.dict() != nullptr) return a.list() == b.list() && a.dict() == b.dict();
  if (a.text() != nullptr && a.text() == b.text()) return true;
  if (!in.equal(a, b)) return false;
  const bool kept_once = a.is_integer() && a.integer() >= -5 && a.integer() <= 256;
  if (a.is_number() || a.text() != nullptr) {
    if (!kept_once) in.unsupported(fmt::format("the test 'sameas' between two equal values of type {}", a.type_name()));
  }
  return true;
}

// sign: how the order must be: "<", "<=", ">", ">=".
template <char kind, bool or_equal>
bool ordered(Interpreter& in, const Value& a, Arguments& arguments) {
  const char* sign = kind == '<' ? (or_equal ? "<=" : "<") : (or_equal ? ">=" : ">");
  const int order = in.order(a, other(in, arguments, "b"), sign);
  return order != 2 && ((or_equal && order == 0) || order == (kind == '<' ? -1 : 1));
}
bool is_equal(Interpreter& in, const Value& a, Arguments& arguments) { return in.equal(a, other(in, arguments, "b")); }
bool is_unequal(Interpreter& in, const Value& a, Arguments& arguments) {
  return !in.equal(a, other(in, arguments, "b"));
}

#define HADAL_PLAIN_TEST(expression)                                  \
  [](Interpreter& in, const Value& v, Arguments& arguments) -> bool { \
    return plain(in, arguments, [&] { return bool(expression); });    \
  }

const std::unordered_map<std::string, TestFunction>& tests() {
  static const std::unordered_map<std::string, TestFunction> table = {
      {"defined", HADAL_PLAIN_TEST(!v.is_undefined())},
      {"undefined", HADAL_PLAIN_TEST(v.is_undefined())},
      {"none", HADAL_PLAIN_TEST(v.is_none())},
      {"boolean", HADAL_PLAIN_TEST(v.is_bool())},
      {"true", HADAL_PLAIN_TEST(v.is_bool() && v.integer() != 0)},
      {"false", HADAL_PLAIN_TEST(v.is_bool() && v.integer() == 0)},
      {"integer", HADAL_PLAIN_TEST(v.is_integer())},
      {"float", HADAL_PLAIN_TEST(v.is_float())},
      {"number", HADAL_PLAIN_TEST(v.is_number())},
      {"string", HADAL_PLAIN_TEST(v.text() != nullptr)},
      {"mapping", HADAL_PLAIN_TEST(v.dict() != nullptr)},
      {"iterable", HADAL_PLAIN_TEST(iterable(v))},
      {"sequence", HADAL_PLAIN_TEST(sequence(v))},
      {"filter",
       [](Interpreter& in, const Value& v, Arguments& arguments) { return is_named(in, v, arguments, find_filter); }},
      {"test",
       [](Interpreter& in, const Value& v, Arguments& arguments) { return is_named(in, v, arguments, find_test); }},
      {"escaped", HADAL_PLAIN_TEST(v.text() != nullptr && v.text()->is_html())},
      {"callable", HADAL_PLAIN_TEST(v.callable() != nullptr || v.is_undefined() || v.loop() != nullptr)},
      {"lower", HADAL_PLAIN_TEST(case_is(in, v, "islower"))},
      {"upper", HADAL_PLAIN_TEST(case_is(in, v, "isupper"))},
      {"odd", HADAL_PLAIN_TEST(remainder_is(in, v, Value(2), 1))},
      {"even", HADAL_PLAIN_TEST(remainder_is(in, v, Value(2), 0))},
      {"divisibleby",
       [](Interpreter& in, const Value& v, Arguments& a) { return remainder_is(in, v, other(in, a, "num"), 0); }},
      {"sameas", [](Interpreter& in, const Value& v, Arguments& a) { return same(in, v, other(in, a, "other")); }},
      {"in", [](Interpreter& in, const Value& v, Arguments& a) { return in.contains(other(in, a, "seq"), v); }},
      {"==", is_equal},
      {"eq", is_equal},
      {"equalto", is_equal},
      {"!=", is_unequal},
      {"ne", is_unequal},
      {"<", ordered<'<', false>},
      {"lt", ordered<'<', false>},
      {"lessthan", ordered<'<', false>},
      {"<=", ordered<'<', true>},
      {"le", ordered<'<', true>},
      {">", ordered<'>', false>},
      {"gt", ordered<'>', false>},
      {"greaterthan", ordered<'>', false>},
      {">=", ordered<'>', true>},
      {"ge", ordered<'>', true>}};
  return table;
}

}  // namespace

void Interpreter::no_test(const std::string& name) const {
  fail(ErrorKind::unsupported, "chat template, line {}: there is no test '{}'", line_, name);
}

TestFunction find_test(const std::string& name) {
  const auto found = tests().find(name);
  return found == tests().end() ? nullptr : found->second;
}

}  // namespace hadal::jinja
