// The syntax tree of a template. A node knows its line and how deep its tree is: the parser refuses deep ones, so that
// walking and freeing them is safe.
#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace hadal::jinja {

template <size_t n>
bool among(const std::string_view (&names)[n], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

class Interpreter;
struct Arguments;
using FilterFunction = Value (*)(Interpreter&, const Value& input, Arguments& arguments);
using TestFunction = bool (*)(Interpreter&, const Value& input, Arguments& arguments);

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class ExpressionKind : uint8_t {
  constant,
  name,
  list,
  tuple,
  dict,  // dict: parts are key, value, key, value, ...
  attribute,
  item,
  slice,  // slice: parts are object, from, to, step (null where absent)
  call,
  filter,
  test,  // parts[0] is called or filtered (null: a filter on a block), the rest are arguments
  negate,
  plus,
  logical_not,
  logical_and,
  logical_or,
  arithmetic,
  concat,
  compare,          // compare: parts joined by `operators`
  condition,        // parts are test, value, other (null where absent)
  space_attribute,  // namespace.name as the target of an assignment
  unpack,           // *list among arguments; **dict is a named argument without a name
  unavailable       // what we cannot evaluate, said in `name` when it is reached
};

struct Expression {
  ExpressionKind kind;
  int line = 0;
  int depth = 1;
  Value constant;
  std::string name;  // of the name, attribute, filter, test or arithmetic operator
  std::vector<ExpressionPtr> parts;
  std::vector<std::pair<std::string, ExpressionPtr>> named;  // keyword arguments
  std::vector<std::string> operators;
  FilterFunction filter = nullptr;  // null where there is none of this name, which is an error when it is reached
  TestFunction test = nullptr;      // likewise
};

struct Statement;
using Block = std::vector<std::unique_ptr<Statement>>;

enum class StatementKind : uint8_t {
  text,
  print,
  condition,
  loop,
  set,
  set_block,
  macro,
  call_block,
  block,
  autoescape,
  filter_block,
  with,
  generation,
  break_loop,
  continue_loop,
  unavailable  // a tag that needs other templates: an error when it is reached
};

struct Statement {
  StatementKind kind;
  int line = 0;
  MarkedText text;
  std::string name;  // of the macro, block or unavailable tag
  std::vector<ExpressionPtr>
      expressions;  // print: one; condition: a test for each branch; loop: iterable, filter or null;
                    // set: value; filter_block, set_block: filter or null; with: values; macro, call_block: defaults
  std::vector<ExpressionPtr> targets;   // loop, set: one; with: each; call_block: the call
  std::vector<std::string> parameters;  // macro, call_block
  std::vector<Block> bodies;            // condition: one per test and the else; loop: body, else; others: one
  bool takes_varargs = false, takes_kwargs = false, takes_caller = false;  // macro, call_block
  bool recursive = false;                                                  // loop
  bool scoped = false, required = false;                                   // block
};

FilterFunction find_filter(const std::string& name);  // null when there is none
TestFunction find_test(const std::string& name);
bool is_known_function(const std::string& name);  // range, namespace, raise_exception, ...

}  // namespace hadal::jinja
