// Attributes, items, and the methods of str, list and dict that templates call. There is no walk through objects: what
// is not on these lists does not exist, what Python would have is refused by name.
#include <algorithm>
#include <iterator>

#include "jinja/characters.h"
#include "jinja/interpreter.h"

namespace hadal::jinja {
namespace {

constexpr std::string_view kTextMethods[] = {
    "capitalize",   "casefold",     "center",     "count",      "endswith", "expandtabs", "find",
    "format",       "format_map",   "index",      "isalnum",    "isalpha",  "isascii",    "isdecimal",
    "isdigit",      "isidentifier", "islower",    "isnumeric",  "isspace",  "istitle",    "isupper",
    "isprintable",  "join",         "ljust",      "lower",      "lstrip",   "partition",  "removeprefix",
    "removesuffix", "replace",      "rfind",      "rindex",     "rjust",    "rpartition", "rsplit",
    "rstrip",       "split",        "splitlines", "startswith", "strip",    "swapcase",   "title",
    "upper",        "zfill"};
constexpr std::string_view kOtherTextMethods[] = {"encode", "maketrans", "translate"};
constexpr std::string_view kDictMethods[] = {"copy", "get", "items", "keys", "values"};
constexpr std::string_view kDictWriters[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr std::string_view kListMethods[] = {"copy", "count", "index"};
constexpr std::string_view kListWriters[] = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};

Value unsafe(const Value& object, const std::string& name) {
  return undefined(fmt::format("'{}' of a {} would change it: values are immutable here", name, object.type_name()));
}

// The method of this name, or nothing (false). What Python has and we do not is refused.
bool find_method(Interpreter& in, const Value& object, const std::string& name, Value& out) {
  if (object.text() != nullptr) {
    if (among(kOtherTextMethods, name)) in.unsupported("the method '" + name + "' of a str");
    if (!among(kTextMethods, name)) return false;
  } else if (object.dict() != nullptr) {
    if (name == "fromkeys") in.unsupported("the method 'fromkeys' of a dict");
    if (among(kDictWriters, name)) {
      out = unsafe(object, name);
      return true;
    }
    if (!among(kDictMethods, name)) return false;
  } else if (object.is_list(ListKind::list) || object.is_list(ListKind::tuple)) {
    if (object.is_list(ListKind::list) && among(kListWriters, name)) {
      out = unsafe(object, name);
      return true;
    }
    if (!among(kListMethods, name) || (name == "copy" && !object.is_list(ListKind::list))) return false;
  } else {
    return false;
  }
  out = in.method(name, object);
  return true;
}

std::string shown(const Value& key) {
  if (key.text() != nullptr) return "'" + key.text()->bytes().substr(0, 80) + "'";
  return key.is_integer() || key.is_bool() ? integer_text(key.integer()) : std::string("a ") + key.type_name();
}

Value call_dict_method(Interpreter& in, const Value& self, const std::string& name, Arguments& arguments) {
  const DictData& dict = *self.dict();
  if (name == "get") {
    const Value* key = arguments.find(0, "");
    const Value* otherwise = arguments.find(1, "");
    in.finish(arguments, 2);
    if (key == nullptr) in.error("'get' wants a key");
    const Value* found = in.look_up(dict, *key);
    return found != nullptr ? *found : otherwise != nullptr ? *otherwise : Value(None{});
  }
  in.finish(arguments, 0);
  if (name == "copy") return self;
  in.step(int64_t(dict.items.size()));
  std::vector<Value> out;
  for (const auto& [key, value] : dict.items) {
    out.push_back(name == "keys" ? key : name == "values" ? value : in.list({key, value}, ListKind::tuple));
  }
  return in.list(std::move(out), name == "keys"     ? ListKind::keys
                                 : name == "values" ? ListKind::values
                                                    : ListKind::items);
}

Value call_list_method(Interpreter& in, const Value& self, const std::string& name, Arguments& arguments) {
  if (name == "copy") {
    in.finish(arguments, 0);
    return self;
  }
  in.finish(arguments, 1);
  if (arguments.values.empty()) in.error("'" + name + "' wants a value");
  int64_t n = 0, at = 0;
  for (const Value& item : self.list()->items) {
    if (in.equal(item, arguments.values[0])) {
      if (name == "index") return Value(at);
      ++n;
    }
    ++at;
  }
  if (name == "index") in.error(shown(arguments.values[0]) + " is not in the list");
  return Value(n);
}

// The value whose turn it is; then the next one's.
Value take_turn(Turns& turns) {
  const Value now = turns.items[turns.next];
  if (turns.next + 1 < turns.items.size()) {
    ++turns.next;
  } else if (turns.is_cycler) {
    turns.next = 0;
  }
  return now;
}

Value cycler_attribute(Interpreter& in, const Value& cycler, const std::string& name) {
  const Turns& turns = *cycler.callable()->turns;
  if (name == "current") return turns.items[turns.next];
  if (name == "items") return in.list(turns.items, ListKind::tuple);
  if (name == "pos") return Value(int64_t(turns.next));
  if (name == "next" || name == "reset") return in.method(name, cycler);
  return undefined(fmt::format("a cycler has no attribute '{}'", name));
}

Value call_cycler_method(Interpreter& in, Turns& turns, const std::string& name, Arguments& arguments) {
  in.finish(arguments, 0);
  if (name == "next") return take_turn(turns);
  turns.next = 0;
  return Value(None{});
}

}  // namespace

Value Interpreter::attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) use_of_undefined(object);
  if (object.loop() != nullptr) return loop_attribute(object, name);
  if (object.callable() != nullptr && object.callable()->turns && object.callable()->turns->is_cycler)
    return cycler_attribute(*this, object, name);
  if (object.callable() != nullptr && object.callable()->macro != nullptr && name == "name")
    return author_text(object.callable()->name);
  Value out;
  const bool is_private = name.starts_with('_');  // of Python's objects; keys of dicts may be named so
  if (!is_private && find_method(*this, object, name, out)) return out;
  if (object.space() != nullptr) {
    for (const auto& [known, value] : object.space()->items) {
      step();
      if (known == name) return value;
    }
  }
  if (object.dict() != nullptr) {
    if (const Value* found = object.dict()->find(name)) return *found;
  }
  if (object.list() != nullptr && object.list()->is_group && (name == "grouper" || name == "list"))
    return object.list()->items[name == "list"];
  if (is_private) return undefined(fmt::format("'{}' of a {} is private", name, object.type_name()));
  return undefined(fmt::format("a {} has no attribute '{}'", object.type_name(), name));
}

Value Interpreter::item(const Value& object, const Value& key) {
  if (object.is_undefined()) use_of_undefined(object);
  const bool whole = key.is_integer() || key.is_bool();
  if (object.dict() != nullptr) {
    const bool hashable = !key.is_list(ListKind::list) && key.dict() == nullptr;
    const Value* found = hashable ? look_up(*object.dict(), key) : nullptr;
    if (found != nullptr) return *found;
  } else if (whole && (object.is_sequence() || object.text() != nullptr)) {
    const int64_t n = length(object);
    int64_t at = small_integer(key, "an index");
    if (at < 0) at += n;
    if (at >= 0 && at < n) {
      if (object.list() != nullptr) return object.list()->items[size_t(at)];
      const size_t begin = object.text()->byte_of(at);
      return text(like(*object.text(), object.text()->part(begin, object.text()->byte_of(at + 1))));
    }
  }
  Value out;
  if (const MarkedText* name = key.text()) {
    const bool has_own = object.loop() != nullptr || object.space() != nullptr || object.callable() != nullptr ||
                         (object.list() != nullptr && object.list()->is_group);
    if (has_own) return attribute(object, name->bytes());
    if (find_method(*this, object, name->bytes(), out)) return out;
  }
  return undefined(fmt::format("a {} has no element {}", object.type_name(), shown(key)));
}

Value Interpreter::item_path(const Value& object, const Value& path) {
  if (path.text() == nullptr) return item(object, path);
  Value now = object;
  const std::string& names = path.text()->bytes();
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find('.', begin), names.size());
    const std::string name = names.substr(begin, end - begin);
    const bool number = !name.empty() && name.size() < 10 && name.find_first_not_of("0123456789") == std::string::npos;
    now = item(now, number ? Value(int64_t(std::stoll(name))) : author_text(name));
    begin = end + 1;
  }
  return now;
}

Value Interpreter::call(const Value& callee, Arguments& arguments) {
  if (callee.is_undefined()) use_of_undefined(callee);
  if (callee.loop() != nullptr) return call_loop(*callee.loop(), arguments);
  const Callable* callable = callee.callable();
  if (callable == nullptr) error(fmt::format("a {} cannot be called", callee.type_name()));
  if (callable->macro != nullptr) return call_macro(*callable, arguments);
  arguments.of = "'" + callable->name + "'";
  if (callable->turns) {
    finish(arguments, 0);
    if (callable->turns->is_cycler) error("a cycler is not called: its values come from .next()");
    return take_turn(*callable->turns);
  }
  if (!callable->self) return call_function(*this, callable->name, arguments);
  const Value& self = *callable->self;
  if (self.text() != nullptr) return call_text_method(*this, *self.text(), callable->name, arguments);
  if (self.callable() != nullptr) return call_cycler_method(*this, *self.callable()->turns, callable->name, arguments);
  if (self.dict() != nullptr) return call_dict_method(*this, self, callable->name, arguments);
  if (self.loop() != nullptr) return call_loop_method(*self.loop(), callable->name, arguments);
  return call_list_method(*this, self, callable->name, arguments);
}

}  // namespace hadal::jinja
