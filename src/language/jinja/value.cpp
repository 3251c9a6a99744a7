#include "jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace hadal::jinja {

const Value* DictData::find(std::string_view key) const {
  const auto found = by_text.find(key);
  return found == by_text.end() ? nullptr : &items[found->second].second;
}

void DictData::set(TextPtr key, Value value) {
  depth = std::max(depth, value.depth() + 1);
  const auto [at, added] = by_text.emplace(key->bytes(), items.size());
  if (added) {
    items.emplace_back(Value(std::move(key)), std::move(value));
  } else {
    items[at->second].second = std::move(value);
  }
}

int Value::depth() const {
  if (list() != nullptr) return list()->depth;
  if (dict() != nullptr) return dict()->depth;
  if (callable() != nullptr) return callable()->depth;
  if (loop() != nullptr) return loop()->depth;
  return 0;
}

const char* Value::type_name() const {
  static constexpr const char* kLists[] = {"list",        "tuple",      "generator", "dict_keys",
                                           "dict_values", "dict_items", "range"};
  static constexpr const char* kNames[] = {"undefined", "None", "bool",      "int",  "float",   "str",
                                           "",          "dict", "namespace", "loop", "function"};
  return list() != nullptr ? kLists[int(list()->kind)] : kNames[v.index()];
}

Value undefined(std::string why) {
  Value value;
  value.v = std::make_shared<const Undefined>(Undefined{std::move(why)});
  return value;
}

namespace {

constexpr int kDeepestJson = 100;

// Builds values while nlohmann's parser reads, so that nothing is held twice and order is kept.
class JsonBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  JsonBuilder(const std::string& what, bool from_template) : what_(what), from_template_(from_template) {}
  Value result;

  bool null() override { return put(Value(None{})); }
  bool boolean(bool x) override { return put(Value(x)); }
  bool number_integer(number_integer_t x) override { return put(Value(Integer(x))); }
  bool number_unsigned(number_unsigned_t x) override { return put(Value(Integer(x))); }
  bool number_float(number_float_t x, const string_t& text) override {
    check(text.find_first_of(".eE") != std::string::npos, ErrorKind::invalid,
          "{}: the integer {} has more than 64 bits", what_, text);
    return put(Value(double(x)));
  }
  bool string(string_t& x) override { return put(text_value(MarkedText(std::move(x), from_template_))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(true); }
  bool start_array(std::size_t) override { return open(false); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& x) override {
    open_.back().key = std::make_shared<const MarkedText>(std::move(x), from_template_);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    fail(ErrorKind::invalid, "{} is not valid JSON: {}", what_, e.what());
  }

 private:
  struct Open {
    std::shared_ptr<ListData> list;
    std::shared_ptr<DictData> dict;
    TextPtr key;
  };
  bool open(bool object) {
    check(open_.size() < size_t(kDeepestJson), ErrorKind::invalid, "{} nests deeper than {} levels", what_,
          kDeepestJson);
    Open level;
    if (object) {
      level.dict = std::make_shared<DictData>();
    } else {
      level.list = std::make_shared<ListData>();
    }
    open_.push_back(std::move(level));
    return true;
  }
  bool close() {
    Open level = std::move(open_.back());
    open_.pop_back();
    return put(level.dict ? Value(DictPtr(std::move(level.dict))) : Value(ListPtr(std::move(level.list))));
  }
  bool put(Value value) {
    if (open_.empty()) {
      result = std::move(value);
    } else if (open_.back().dict) {
      open_.back().dict->set(std::move(open_.back().key), std::move(value));
    } else {
      ListData& list = *open_.back().list;
      list.depth = std::max(list.depth, value.depth() + 1);
      list.items.push_back(std::move(value));
    }
    return true;
  }

  const std::string& what_;
  bool from_template_;
  std::vector<Open> open_;
};

}  // namespace

Value value_from_json(std::string_view json, const std::string& what, bool from_template) {
  JsonBuilder builder(what, from_template);
  nlohmann::json::sax_parse(json.begin(), json.end(), &builder);
  return std::move(builder.result);
}

std::string integer_text(Integer value) { return fmt::format("{}", value); }

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string text(buffer, end);  // d.ddde+XX
  const size_t e = text.find('e');
  const int exponent = std::atoi(text.c_str() + e + 1);
  if (exponent < -4 || exponent >= 16) {
    return text.substr(0, e) + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  std::string digits;
  for (char c : text.substr(0, e)) {
    if (c != '.' && c != '-') digits += c;
  }
  const std::string sign = text[0] == '-' ? "-" : "";
  if (exponent < 0) return sign + "0." + std::string(size_t(-exponent - 1), '0') + digits;
  if (digits.size() <= size_t(exponent) + 1)
    return sign + digits + std::string(size_t(exponent) + 1 - digits.size(), '0') + ".0";
  return sign + digits.substr(0, size_t(exponent) + 1) + "." + digits.substr(size_t(exponent) + 1);
}

}  // namespace hadal::jinja
