#include "base/json.h"

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "base/files.h"

namespace hadal {

namespace {

// The library's own words, without its tag "[json.exception.parse_error.101] ".
// "line 1, column 9: unexpected '}'; expected string literal" of the library's
// "[json.exception.parse_error.101] parse error at line 1, column 9: syntax error while parsing object key - unexpected
// '}'; expected string literal".
std::string reason_of(const std::exception& error) {
  std::string text = error.what();
  const size_t tag_end = text.find("] ");
  if (text.starts_with('[') && tag_end != std::string::npos) text.erase(0, tag_end + 2);
  if (const std::string start = "parse error at "; text.starts_with(start)) text.erase(0, start.size());
  const size_t syntax = text.find(": syntax error while parsing "), reason = text.find(" - ");
  if (syntax != std::string::npos && reason != std::string::npos && reason > syntax)
    text.replace(syntax, reason + 3 - syntax, ": ");
  return text;
}

// Notes, while the library reads, the first name that stands twice in one object, and the first number no integer.
template <class Json>
class Watch {
 public:
  typename Json::parser_callback_t callback() {
    return [this](int, typename Json::parse_event_t event, Json& value) {
      using Event = typename Json::parse_event_t;
      if (event == Event::object_start) open_.emplace_back();
      if (event == Event::object_end) open_.pop_back();
      if (event == Event::key && !open_.back().insert(value.template get<std::string>()).second && repeated.empty())
        repeated = value.template get<std::string>();
      if (event == Event::value && value.is_number_float() && no_integer.empty()) no_integer = value.dump();
      return true;
    };
  }
  std::string repeated, no_integer;

 private:
  std::vector<std::unordered_set<std::string>> open_;  // names of the objects around the place that is read
};

}  // namespace

template <class Json>
Json parse_json(std::string_view text, const std::string& origin, const JsonRules& rules) {
  check(!nests_deeper_than(text, rules.levels), rules.kind, "{}: nested deeper than {} levels", origin, rules.levels);
  Watch<Json> watch;
  Json json;
  try {
    json = rules.unique_names || rules.integers ? Json::parse(text, watch.callback()) : Json::parse(text);
  } catch (const typename Json::out_of_range&) {  // valid JSON, such as 1e999
    fail(rules.kind, "{}: a number beyond what a double can hold", origin);
  } catch (const typename Json::exception& error) {
    fail(rules.kind, "{}: not valid JSON ({})", origin, reason_of(error));
  }
  check(watch.repeated.empty() || !rules.unique_names, rules.kind, "{}: the name '{}' stands twice in one object",
        origin, watch.repeated);
  check(watch.no_integer.empty() || !rules.integers, rules.kind, "{}: holds {}, where integers of 64 bits stand",
        origin, watch.no_integer);
  check(!rules.object || json.is_object(), rules.kind, "{}: not a JSON object", origin);
  return json;
}

template <class Json>
Json read_json(const std::filesystem::path& file, const JsonRules& rules) {
  return parse_json<Json>(read_file(file), file.string(), rules);
}

template <class Json>
std::string json_text(const Json& json, const JsonStyle& style) {
  using Handler = typename Json::error_handler_t;
  return json.dump(style.indent, ' ', style.ascii, style.lossy ? Handler::replace : Handler::strict);
}

template std::string json_text(const nlohmann::json&, const JsonStyle&);
template std::string json_text(const nlohmann::ordered_json&, const JsonStyle&);
template nlohmann::json parse_json(std::string_view, const std::string&, const JsonRules&);
template nlohmann::ordered_json parse_json(std::string_view, const std::string&, const JsonRules&);
template nlohmann::json read_json(const std::filesystem::path&, const JsonRules&);
template nlohmann::ordered_json read_json(const std::filesystem::path&, const JsonRules&);

bool nests_deeper_than(std::string_view json, int levels) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > levels) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace hadal
