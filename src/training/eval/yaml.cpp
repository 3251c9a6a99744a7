// libyaml gives events, one after another; this file never asks it for a tree.
#include "eval/yaml.h"

#include <yaml.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace hadal::eval {

using Json = nlohmann::ordered_json;

namespace {

bool is_one_of(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words)
    if (text == word) return true;
  return false;
}

bool all_of(std::string_view text, std::string_view characters) {
  return !text.empty() && text.find_first_not_of(characters) == std::string_view::npos;
}

// A whole number with a sign, or nothing. Beyond 64 bits a number is a text.
std::optional<Json> whole_number(std::string_view text) {
  const bool minus = text.starts_with('-');
  if (minus || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  int base = 10;
  std::string digits;
  if (text.starts_with("0b")) {
    base = 2, text.remove_prefix(2);
  } else if (text.starts_with("0x")) {
    base = 16, text.remove_prefix(2);
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8, text.remove_prefix(1);
  }
  const std::string_view known = "0123456789abcdefABCDEF_";
  if (!all_of(text, base == 2 ? "01_" : base == 8 ? "01234567_" : base == 10 ? "0123456789_" : known))
    return std::nullopt;
  for (const char c : text)
    if (c != '_') digits += c;
  if (digits.empty() || digits.size() > (base == 2 ? 62 : base == 16 ? 15 : 18)) return std::nullopt;
  const long long value = std::strtoll(digits.c_str(), nullptr, base);
  return Json(minus ? -value : value);
}

std::optional<Json> real_number(const std::string& text) {
  const std::string body = text.substr(text.starts_with('-') || text.starts_with('+') ? 1 : 0);
  const double sign = text.starts_with('-') ? -1 : 1;
  if (is_one_of(body, {".inf", ".Inf", ".INF"})) return Json(sign * std::numeric_limits<double>::infinity());
  if (is_one_of(text, {".nan", ".NaN", ".NAN"})) return Json(std::nan(""));
  const size_t dot = body.find('.');
  if (dot == std::string::npos) return std::nullopt;
  const size_t e = body.find_first_of("eE", dot);
  const std::string front = body.substr(0, dot),
                    behind = body.substr(dot + 1, e == std::string::npos ? e : e - dot - 1);
  const bool front_fits = front.empty() || (all_of(front, "0123456789_") && front[0] != '_');
  const bool behind_fits = behind.empty() ? !front.empty() : all_of(behind, "0123456789_");
  if (!front_fits || !behind_fits || (front.empty() && behind[0] == '_')) return std::nullopt;
  if (e != std::string::npos) {  // with a sign, else it is a text
    const std::string power = body.substr(e + 1);
    if (power.size() < 2 || (power[0] != '+' && power[0] != '-') || !all_of(power.substr(1), "0123456789"))
      return std::nullopt;
  }
  std::string digits;
  for (const char c : body)
    if (c != '_') digits += c;
  return Json(sign * std::strtod(digits.c_str(), nullptr));
}

bool is_date_or_sexagesimal(const std::string& text) {
  if (text.size() >= 8 && all_of(text.substr(0, 4), "0123456789") && text[4] == '-' &&
      all_of(text, "0123456789-:.TtZz+ \t"))
    return true;
  const std::string body = text.substr(text.starts_with('-') || text.starts_with('+') ? 1 : 0);
  return body.find(':') != std::string::npos && all_of(body, "0123456789:._") && body[0] >= '0' && body[0] <= '9';
}

}  // namespace

Json plain_scalar(const std::string& text) {
  if (text.empty() || is_one_of(text, {"~", "null", "Null", "NULL"})) return nullptr;
  if (is_one_of(text, {"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})) return true;
  if (is_one_of(text, {"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})) return false;
  check(!is_date_or_sexagesimal(text), ErrorKind::unsupported,
        "'{}' would be a date or a number of base 60; a text stands in quotes", text);
  if (const auto whole = whole_number(text)) return *whole;
  if (const auto real = real_number(text)) return *real;
  return text;
}

namespace {

class Reader {
 public:
  Reader(std::string_view text, const std::string& origin, const YamlLimits& limits)
      : origin_(origin), limits_(limits) {
    check(int64_t(text.size()) <= limits.bytes, ErrorKind::invalid, "{}: {} bytes, more than the {} of a task file",
          origin, text.size(), limits.bytes);
    check(utf8_valid_prefix(text) == int64_t(text.size()), ErrorKind::corrupt, "{}: byte {} is not UTF-8", origin,
          utf8_valid_prefix(text));
    check(yaml_parser_initialize(&parser_) != 0, ErrorKind::out_of_memory, "{}: no memory to read it", origin);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
  }
  ~Reader() {
    yaml_event_delete(&event_);
    yaml_parser_delete(&parser_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Json read() {
    next();  // the stream
    next();
    if (event_.type == YAML_STREAM_END_EVENT) return nullptr;
    next();  // behind the document's start
    Json value = node(1);
    next();
    next();
    if (event_.type != YAML_STREAM_END_EVENT) refuse("a second document begins here; a task file has one");
    return value;
  }

 private:
  int64_t line() const { return int64_t(event_.start_mark.line) + 1; }
  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorKind::unsupported, "{}: line {}: {}", origin_, line(), what);
  }

  void next() {
    yaml_event_delete(&event_);
    event_ = {};
    if (yaml_parser_parse(&parser_, &event_) != 0) return;
    fail(ErrorKind::corrupt, "{}: line {}: not valid YAML ({})", origin_, parser_.problem_mark.line + 1,
         parser_.problem != nullptr ? parser_.problem : "no memory");
  }

  static std::string text_of(const yaml_char_t* text) {
    return text == nullptr ? "" : reinterpret_cast<const char*>(text);
  }
  void check_marks(const yaml_char_t* anchor, const yaml_char_t* tag) const {
    if (anchor != nullptr) refuse("the anchor &" + text_of(anchor) + " is not followed here; write the value out");
    if (tag != nullptr) refuse("the tag " + text_of(tag) + " is not followed here: a task file holds no code");
  }

  // The value that begins with the event at hand; afterwards that is its last event.
  Json node(int64_t depth) {
    if (depth > limits_.depth) refuse(fmt::format("nested deeper than {} levels", limits_.depth));
    if (++nodes_ > limits_.nodes) refuse(fmt::format("more than {} values", limits_.nodes));
    switch (event_.type) {
      case YAML_ALIAS_EVENT:
        refuse("the alias *" + text_of(event_.data.alias.anchor) + " is not followed here; write the value out");
      case YAML_SCALAR_EVENT: return scalar();
      case YAML_SEQUENCE_START_EVENT: {
        check_marks(event_.data.sequence_start.anchor, event_.data.sequence_start.tag);
        Json list = Json::array();
        for (next(); event_.type != YAML_SEQUENCE_END_EVENT; next()) list.push_back(node(depth + 1));
        return list;
      }
      case YAML_MAPPING_START_EVENT: return mapping(depth);
      default: refuse("a value is missing");
    }
  }

  Json mapping(int64_t depth) {
    check_marks(event_.data.mapping_start.anchor, event_.data.mapping_start.tag);
    Json object = Json::object();
    for (next(); event_.type != YAML_MAPPING_END_EVENT; next()) {
      if (event_.type != YAML_SCALAR_EVENT) refuse("a key must be a text");
      check_marks(event_.data.scalar.anchor, event_.data.scalar.tag);
      const std::string key = scalar_text();
      if (key == "<<" && event_.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        refuse("the merge key << is not followed");
      if (object.contains(key)) refuse("the key '" + key + "' stands here twice");
      if (++nodes_ > limits_.nodes) refuse(fmt::format("more than {} values", limits_.nodes));
      next();
      object[key] = node(depth + 1);
    }
    return object;
  }

  std::string scalar_text() const {
    return {reinterpret_cast<const char*>(event_.data.scalar.value), event_.data.scalar.length};
  }

  Json scalar() const {
    check_marks(event_.data.scalar.anchor, event_.data.scalar.tag);
    const std::string text = scalar_text();
    if (event_.data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return text;
    try {
      return plain_scalar(text);
    } catch (const Error& error) {
      refuse(error.what());
    }
  }

  const std::string& origin_;
  const YamlLimits& limits_;
  yaml_parser_t parser_{};
  yaml_event_t event_{};
  int64_t nodes_ = 0;
};

}  // namespace

Json read_yaml(std::string_view text, const std::string& origin, const YamlLimits& limits) {
  return Reader(text, origin, limits).read();
}

}  // namespace hadal::eval
