// Python's operators on values.
#include <algorithm>
#include <cmath>

#include "jinja/characters.h"
#include "jinja/interpreter.h"

namespace hadal::jinja {

bool Interpreter::truth(const Value& value) {
  refuse_undefined(value);
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is_bool() || value.is_integer()) return value.integer() != 0;
  if (value.is_float()) return value.number() != 0;
  if (value.text() != nullptr) return !value.text()->empty();
  if (value.is_list(ListKind::generator)) return true;
  if (value.list() != nullptr) return !value.list()->items.empty();
  if (value.dict() != nullptr) return !value.dict()->items.empty();
  return true;
}

bool Interpreter::equal(const Value& a, const Value& b) {
  step();
  refuse_undefined(a), refuse_undefined(b);
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return a.number() == b.number();
    return a.integer() == b.integer();
  }
  if (a.v.index() != b.v.index()) return false;
  if (a.text() != nullptr) {
    charge(a.text()->size() / 64);
    return a.text()->bytes() == b.text()->bytes();
  }
  if (a.list() != nullptr) {
    if (a.list() == b.list()) return true;
    const bool views = a.list()->kind == ListKind::generator || a.list()->kind != b.list()->kind;
    if (views || a.list()->items.size() != b.list()->items.size()) return false;
    for (size_t i = 0; i < a.list()->items.size(); ++i) {
      if (!equal(a.list()->items[i], b.list()->items[i])) return false;
    }
    return true;
  }
  if (a.dict() != nullptr) {
    if (a.dict()->items.size() != b.dict()->items.size()) return false;
    for (const auto& [key, value] : a.dict()->items) {
      const Value* other = look_up(*b.dict(), key);
      if (other == nullptr || !equal(value, *other)) return false;
    }
    return true;
  }
  if (a.is_undefined() || a.is_none()) return true;
  return a.space() == b.space() && a.loop() == b.loop() && a.callable() == b.callable();
}

int Interpreter::order(const Value& a, const Value& b, const char* sign) {
  step();
  if (a.is_undefined()) use_of_undefined(a);
  if (b.is_undefined()) use_of_undefined(b);
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) {
      const double x = a.number(), y = b.number();
      return std::isnan(x) || std::isnan(y) ? 2 : x < y ? -1 : x > y;
    }
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
  }
  if (a.text() != nullptr && b.text() != nullptr) {
    charge(a.text()->size() / 64);
    const int c = a.text()->bytes().compare(b.text()->bytes());
    return c < 0 ? -1 : c > 0;
  }
  const bool lists = (a.is_list(ListKind::list) && b.is_list(ListKind::list)) ||
                     (a.is_list(ListKind::tuple) && b.is_list(ListKind::tuple));
  if (!lists) error(fmt::format("'{}' does not stand between a {} and a {}", sign, a.type_name(), b.type_name()));
  const auto &x = a.list()->items, &y = b.list()->items;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    if (!equal(x[i], y[i])) return order(x[i], y[i], sign);
  }
  return x.size() < y.size() ? -1 : x.size() > y.size();
}

bool Interpreter::contains(const Value& container, const Value& item) {
  if (const MarkedText* text = container.text()) {
    if (item.text() == nullptr) error(fmt::format("a {} cannot be looked for in a text", item.type_name()));
    charge(text->size() / 4);
    return find_bytes(text->bytes(), item.text()->bytes(), 0) != std::string::npos;
  }
  if (const DictData* dict = container.dict()) return look_up(*dict, item) != nullptr;
  for (const Value& each : iterate(container)) {
    if (equal(each, item)) return true;
  }
  return false;
}

const Value* Interpreter::look_up(const DictData& dict, const Value& key) {
  if (key.text() != nullptr) return dict.find(key.text()->bytes());
  if (key.is_list(ListKind::list) || key.dict() != nullptr) error(fmt::format("a {} cannot be a key", key.type_name()));
  if (dict.items.size() == dict.by_text.size()) return nullptr;
  for (const auto& [known, value] : dict.items) {
    if (equal(known, key)) return &value;
  }
  return nullptr;
}

std::vector<Value> Interpreter::iterate(const Value& value) {
  refuse_undefined(value);
  std::vector<Value> items;
  if (const ListData* list = value.list()) {
    charge(list->items.size() * sizeof(Value));
    const size_t from = list->kind == ListKind::generator ? std::exchange(list->used, list->items.size()) : 0;
    items.assign(list->items.begin() + int64_t(from), list->items.end());
  } else if (const DictData* dict = value.dict()) {
    charge(dict->items.size() * sizeof(Value));
    for (const auto& [key, item] : dict->items) items.push_back(key);
  } else if (const MarkedText* text = value.text()) {
    charge(text->size() * (sizeof(Value) + sizeof(MarkedText) + 32));
    text->for_each([&](std::string_view character, bool from_template) {
      items.push_back(text_value(MarkedText(std::string(character), from_template)));
    });
  } else if (!value.is_undefined()) {
    error(fmt::format("a {} is nothing to walk through", value.type_name()));
  }
  step(int64_t(items.size()));
  return items;
}

int64_t Interpreter::length(const Value& value) {
  refuse_undefined(value);
  if (value.text() != nullptr) return value.text()->n_characters();
  if (value.list() != nullptr && value.list()->kind != ListKind::generator) return int64_t(value.list()->items.size());
  if (value.dict() != nullptr) return int64_t(value.dict()->items.size());
  if (!value.is_undefined()) error(fmt::format("a {} has no length", value.type_name()));
  return 0;
}

int64_t Interpreter::small_integer(const Value& value, const char* what) {
  if (value.is_undefined()) use_of_undefined(value);
  if (!value.is_bool() && !value.is_integer())
    error(fmt::format("{} is a {}, not a whole number", what, value.type_name()));
  constexpr Integer kMost = Integer(1) << 40;
  return int64_t(std::clamp(value.integer(), -kMost, kMost));
}

namespace {

double float_modulo(double a, double b) {
  double m = std::fmod(a, b);
  if (m != 0 && (m < 0) != (b < 0)) m += b;
  return m == 0 ? std::copysign(0.0, b) : m;
}

Value float_arithmetic(Interpreter& in, const std::string& sign, double a, double b) {
  if (sign == "+") return Value(a + b);
  if (sign == "-") return Value(a - b);
  if (sign == "*") return Value(a * b);
  if (sign == "**") {
    if (a == 0 && b < 0) in.error("zero has no negative power");
    if (a < 0 && b != std::floor(b)) in.unsupported("a complex number");
    const double power = std::pow(a, b);
    if (std::isinf(power) && std::isfinite(a) && std::isfinite(b)) in.error("the power is too large");
    return Value(power);
  }
  if (b == 0) in.error("division by zero");
  if (sign == "/") return Value(a / b);
  if (sign == "%") return Value(float_modulo(a, b));
  const double m = float_modulo(a, b);
  const double quotient = (a - m) / b;
  const double whole = std::floor(quotient);
  return Value(quotient - whole > 0.5 ? whole + 1 : whole);
}

Value integer_arithmetic(Interpreter& in, const std::string& sign, Integer a, Integer b) {
  Integer out = 0;
  bool overflow = false;
  if (sign == "+") {
    overflow = __builtin_add_overflow(a, b, &out);
  } else if (sign == "-") {
    overflow = __builtin_sub_overflow(a, b, &out);
  } else if (sign == "*") {
    overflow = __builtin_mul_overflow(a, b, &out);
  } else if (sign == "**") {
    if (b < 0) return float_arithmetic(in, sign, double(a), double(b));
    out = 1;
    if (a == 0 || a == 1 || a == -1) {
      out = b == 0 ? 1 : a == -1 && b % 2 == 0 ? 1 : a;
    } else {
      for (Integer i = 0; i < b && !overflow; ++i) overflow = __builtin_mul_overflow(out, a, &out);
    }
  } else {
    if (b == 0) in.error("division by zero");
    if (sign == "/") return Value(double(a) / double(b));
    const Integer rest = ((a % b) + b) % b;
    if (b == -1) {
      if (sign == "%") return Value(0);
      overflow = __builtin_sub_overflow(Integer(0), a, &out);
    } else {
      out = sign == "%" ? rest : (a - rest) / b;
    }
  }
  if (overflow) in.error("a whole number grows beyond 127 bits");
  return Value(out);
}

Value repeated(Interpreter& in, const Value& value, const Value& times) {
  const int64_t n = std::max<int64_t>(0, in.small_integer(times, "the number of repetitions"));
  if (const MarkedText* text = value.text()) {
    if (text->empty() || n == 0) return in.text({});
    in.charge(size_t(n) > (size_t(1) << 50) / text->size() ? size_t(1) << 50 : text->size() * size_t(n));
    MarkedText out;
    for (int64_t i = 0; i < n; ++i) {
      out.append(*text);
      if ((i & 1023) == 0) in.check_size(out);
    }
    if (text->is_html()) out.set_html();
    return in.text(std::move(out));
  }
  const std::vector<Value>& items = value.list()->items;
  if (items.empty() || n == 0) return in.list({}, value.list()->kind);
  in.charge(size_t(n) > (size_t(1) << 40) / items.size() ? size_t(1) << 50 : items.size() * size_t(n) * sizeof(Value));
  std::vector<Value> out;
  for (int64_t i = 0; i < n; ++i) out.insert(out.end(), items.begin(), items.end());
  return in.list(std::move(out), value.list()->kind);
}

// What is joined to HTML is escaped.
MarkedText joined(const MarkedText& a, const MarkedText& b) {
  const bool html = a.is_html() || b.is_html();
  MarkedText out = html && !a.is_html() ? escaped_html(a) : a;
  out.append(html && !b.is_html() ? escaped_html(b) : b);
  if (html) out.set_html();
  return out;
}

}  // namespace

Value Interpreter::arithmetic(const std::string& sign, const Value& a, const Value& b) {
  if (a.text() != nullptr && sign == "%") return format_percent(*a.text(), b);
  if (a.is_undefined()) use_of_undefined(a);
  if (b.is_undefined()) use_of_undefined(b);
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return float_arithmetic(*this, sign, a.number(), b.number());
    return integer_arithmetic(*this, sign, a.integer(), b.integer());
  }
  auto repeats = [](const Value& value) {
    return value.text() != nullptr || value.is_list(ListKind::list) || value.is_list(ListKind::tuple);
  };
  if (sign == "+" && a.text() != nullptr && b.text() != nullptr) return text(joined(*a.text(), *b.text()));
  const bool lists =
      sign == "+" && a.list() != nullptr && b.list() != nullptr && a.list()->kind == b.list()->kind && repeats(a);
  if (lists) {
    std::vector<Value> items = iterate(a);
    const std::vector<Value> more = iterate(b);
    items.insert(items.end(), more.begin(), more.end());
    return list(std::move(items), a.list()->kind);
  }
  if (sign == "*" && repeats(a) && (b.is_integer() || b.is_bool())) return repeated(*this, a, b);
  if (sign == "*" && repeats(b) && (a.is_integer() || a.is_bool())) return repeated(*this, b, a);
  error(fmt::format("'{}' does not stand between a {} and a {}", sign, a.type_name(), b.type_name()));
}

Value Interpreter::slice(const Value& object, const Value* from, const Value* to, const Value* step_value) {
  if (object.is_undefined()) use_of_undefined(object);
  if (object.text() == nullptr && !object.is_sequence())
    return undefined(fmt::format("a {} cannot be sliced", object.type_name()));
  for (const Value* value : {from, to, step_value}) {
    if (value == nullptr || value->is_none() || value->is_integer() || value->is_bool()) continue;
    return undefined(fmt::format("a {} cannot be the bound of a slice", value->type_name()));
  }
  auto bound = [&](const Value* value, int64_t otherwise) {
    return value == nullptr || value->is_none() ? otherwise : small_integer(*value, "the bound of a slice");
  };
  const int64_t n = length(object);
  const int64_t by = bound(step_value, 1);
  if (by == 0) error("the step of a slice is 0");
  auto clamped = [&](int64_t at) {
    if (at < 0) at += n;
    return by > 0 ? std::clamp<int64_t>(at, 0, n) : std::clamp<int64_t>(at, -1, n - 1);
  };
  const int64_t begin = from == nullptr || from->is_none() ? (by > 0 ? 0 : n - 1) : clamped(bound(from, 0));
  const int64_t end = to == nullptr || to->is_none() ? (by > 0 ? n : -1) : clamped(bound(to, 0));
  if (object.text() != nullptr && by == 1) {
    const MarkedText& whole = *object.text();
    if (begin >= end) return text({});
    return text(like(whole, whole.part(whole.byte_of(begin), whole.byte_of(end))));
  }
  const std::vector<Value> items = iterate(object);
  std::vector<Value> out;
  for (int64_t at = begin; by > 0 ? at < end : at > end; at += by) out.push_back(items[size_t(at)]);
  if (object.list() != nullptr) return list(std::move(out), object.list()->kind);
  MarkedText joined;
  for (const Value& character : out) joined.append(*character.text());
  return text(like(*object.text(), std::move(joined)));
}

}  // namespace hadal::jinja
