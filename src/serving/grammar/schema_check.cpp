#include "grammar/schema_check.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/error.h"
#include "base/json.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;
using Names = std::initializer_list<const char*>;

constexpr Names kSaysNothing = {"title",     "description", "default",     "examples",   "$schema",
                                "$id",       "id",          "$comment",    "deprecated", "readOnly",
                                "writeOnly", "$defs",       "definitions", "$anchor"};
constexpr Names kTypes = {"object", "array", "string", "integer", "number", "boolean", "null"};
constexpr Names kNumbers = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"};
constexpr Names kStrings = {"minLength", "maxLength", "pattern", "format"};
constexpr Names kArrays = {"prefixItems", "items", "unevaluatedItems", "minItems", "maxItems"};
constexpr Names kObjects = {"properties",    "required",     "additionalProperties", "unevaluatedProperties",
                            "minProperties", "maxProperties"};
// Formats as patterns of what each reader of them takes: less than a format allows (XGrammar's own say more, as the
// 31st of November).
#define HADAL_DATE "[12]\\d{3}-((0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
#define HADAL_TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define HADAL_HOST "[a-z][a-z0-9]{0,20}(-[a-z0-9]{1,20}){0,2}(\\.[a-z][a-z0-9]{1,20}){1,3}"
#define HADAL_BYTE "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]\\d|\\d)"
constexpr std::pair<const char*, const char*> kFormats[] = {
    {"date", HADAL_DATE},
    {"time", HADAL_TIME},
    {"date-time", HADAL_DATE "T" HADAL_TIME},
    {"duration", "P(\\d{1,3}W|\\d{1,3}D(T\\d{1,2}H(\\d{1,2}M)?)?|T\\d{1,3}[HMS])"},
    {"email", "[A-Za-z0-9]{1,12}([._+-][A-Za-z0-9]{1,12}){0,3}@" HADAL_HOST},
    {"hostname", HADAL_HOST},
    {"ipv4", HADAL_BYTE "(\\." HADAL_BYTE "){3}"},
    {"ipv6", "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}"},
    {"uri", "https?://" HADAL_HOST "(/[A-Za-z0-9._~-]{1,30}){0,6}(\\?[A-Za-z0-9._~=&-]{1,60})?"},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"}};
#undef HADAL_DATE
#undef HADAL_TIME
#undef HADAL_HOST
#undef HADAL_BYTE

bool has(Names names, const std::string& name) {
  return std::any_of(names.begin(), names.end(), [&](const char* one) { return name == one; });
}

std::string brief(const Json& value) {
  const std::string text = json_text(value, {.lossy = true});
  return text.size() <= 60 ? text : text.substr(0, 60) + "...";
}

bool is_of_type(const Json& value, const std::string& type) {
  if (type == "integer")
    return value.is_number_integer() || (value.is_number() && std::floor(value.get<double>()) == value.get<double>());
  if (type == "number") return value.is_number();
  return (type == "object" && value.is_object()) || (type == "array" && value.is_array()) ||
         (type == "string" && value.is_string()) || (type == "boolean" && value.is_boolean()) ||
         (type == "null" && value.is_null());
}

class SchemaCheck {
 public:
  explicit SchemaCheck(const Json& root) : root_(root) {}

  void operator()(Json& schema, const std::string& where) {
    if (schema.is_boolean()) return;
    check(schema.is_object(), ErrorKind::invalid, "{} = {} must be a JSON schema, an object or true", where,
          brief(schema));
    for (const char* name : {"$defs", "definitions"})
      if (schema.contains(name)) each_member(schema[name], where + "." + name);
    for (const char* name : {"$ref", "const", "enum", "anyOf", "oneOf", "allOf"}) {
      if (!schema.contains(name)) continue;
      alone(schema, name, where);
      return of_kind(schema, name, where);
    }
    typed(schema, types_of(schema, where), where);
  }

 private:
  // XGrammar would read the first of them alone.
  static void alone(const Json& schema, const std::string& name, const std::string& where) {
    for (const auto& [other, value] : schema.items()) {
      const bool type = other == "type" && (name == "const" || name == "enum");
      check(other == name || type || has(kSaysNothing, other), ErrorKind::invalid,
            "{}: '{}' beside '{}' is not offered; put it into the schemas that {} names", where, other.substr(0, 60),
            name, name);
    }
  }

  void of_kind(Json& schema, const std::string& name, const std::string& where) {
    Json& value = schema[name];
    if (name == "$ref") return reference(value, where);
    if (name == "const") return matches_type(schema, value, where + ".const");
    check(value.is_array() && !value.empty(), ErrorKind::invalid, "{}.{} = {} must be a list that is not empty", where,
          name, brief(value));
    if (name == "enum") {
      for (const Json& one : value) matches_type(schema, one, where + ".enum");
      return;
    }
    check(name != "allOf" || value.size() == 1, ErrorKind::invalid,
          "{}.allOf has {} schemas; several at once are not offered, write them as one", where, value.size());
    for (size_t i = 0; i < value.size(); ++i) (*this)(value[i], fmt::format("{}.{}[{}]", where, name, i));
  }

  void reference(const Json& to, const std::string& where) const {
    const std::string path = to.is_string() ? to.get<std::string>() : "";
    bool found = path == "#";
    if (path.starts_with("#/") && path.find('~') == std::string::npos && path.find('%') == std::string::npos) {
      const Json* at = &root_;
      for (size_t begin = 2; at != nullptr && begin <= path.size();) {
        const size_t end = std::min(path.find('/', begin), path.size());
        const auto next = at->is_object() ? at->find(path.substr(begin, end - begin)) : at->end();
        at = at->is_object() && next != at->end() ? &*next : nullptr;
        begin = end + 1;
      }
      found = at != nullptr;
    }
    check(found, ErrorKind::invalid, "{}.$ref = {} must be \"#\" or the path of a schema in this one, \"#/$defs/NAME\"",
          where, brief(to));
  }

  static void matches_type(const Json& schema, const Json& value, const std::string& where) {
    if (!schema.contains("type")) return;
    const std::vector<std::string> types = types_of(schema, where);
    check(std::any_of(types.begin(), types.end(), [&](const std::string& type) { return is_of_type(value, type); }),
          ErrorKind::invalid, "{}: {} is not of type {}", where, brief(value), brief(schema["type"]));
  }

  // Empty: any.
  static std::vector<std::string> types_of(const Json& schema, const std::string& where) {
    std::vector<std::string> types;
    if (!schema.contains("type")) return types;
    for (const Json& one : schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]})) {
      check(one.is_string() && has(kTypes, one.get<std::string>()), ErrorKind::invalid,
            "{}.type = {} must be object, array, string, integer, number, boolean, null, or a list of them", where,
            brief(one));
      types.push_back(one.get<std::string>());
    }
    check(!types.empty(), ErrorKind::invalid, "{}.type is an empty list, which nothing is of", where);
    return types;
  }

  void typed(Json& schema, std::vector<std::string> types, const std::string& where) {
    if (types.empty()) types = {implied(schema, where)};
    if (types.front().empty()) return;
    const auto of = [&](const char* type) { return std::find(types.begin(), types.end(), type) != types.end(); };
    for (const auto& [name, value] : schema.items()) {
      const bool known = name == "type" || has(kSaysNothing, name) || (of("object") && has(kObjects, name)) ||
                         (of("array") && has(kArrays, name)) || (of("string") && has(kStrings, name)) ||
                         ((of("integer") || of("number")) && has(kNumbers, name));
      check(known, ErrorKind::invalid, "{}: '{}' is not offered for type {}", where, name.substr(0, 60),
            fmt::join(types, ", "));
    }
    if (of("string")) of_string(schema, where);
    if (of("array")) of_array(schema, where);
    if (of("object")) of_object(schema, where);
  }

  // What XGrammar takes a schema without a type for.
  static std::string implied(const Json& schema, const std::string& where) {
    for (const char* name : {"properties", "additionalProperties", "unevaluatedProperties"})
      if (schema.contains(name)) return "object";
    for (const char* name : {"items", "prefixItems", "unevaluatedItems"})
      if (schema.contains(name)) return "array";
    for (const auto& [name, value] : schema.items())
      check(has(kSaysNothing, name), ErrorKind::invalid, "{}: '{}' needs a \"type\" beside it", where,
            name.substr(0, 60));
    return "";
  }

  static void of_string(Json& schema, const std::string& where) {
    const bool lengths = schema.contains("minLength") || schema.contains("maxLength");
    const bool format = schema.contains("format"), pattern = schema.contains("pattern");
    check(format + pattern + lengths <= 1, ErrorKind::invalid,
          "{}: only one of format, pattern and lengths is offered for a string", where);
    if (format) return of_format(schema, where);
    if (pattern) of_pattern(schema["pattern"], where + ".pattern");
    if (!lengths) return;
    const auto length = [&](const char* name, int64_t otherwise) {
      const Json& value = schema.contains(name) ? schema[name] : Json(otherwise);
      const bool fits = value.is_number_integer() && value >= 0 && value <= INT32_MAX;
      check(fits, ErrorKind::invalid, "{}.{} = {} must be a whole number from 0 to {}", where, name, brief(value),
            INT32_MAX);
      return value.get<int64_t>();
    };
    const int64_t least = length("minLength", 0), most = length("maxLength", INT32_MAX);
    check(least <= most, ErrorKind::invalid, "{}: minLength {} is above maxLength {}", where, least, most);
    // XGrammar's own strings of some length have raw control characters, which JSON forbids, and its `.` surrogates,
    // which are no characters: three signs of replacement to who reads them. One class of what lies below and above
    // them would not do: repeated, its masks allow tokens that its matcher refuses.
    const std::string one = "([ !#-\\[\\]-\xED\x9F\xBF]|[\xEE\x80\x80-\xF4\x8F\xBF\xBF])";
    schema["pattern"] =
        most == INT32_MAX ? fmt::format("{}{{{},}}", one, least) : fmt::format("{}{{{},{}}}", one, least, most);
    schema.erase("minLength"), schema.erase("maxLength");
  }

  static void of_format(Json& schema, const std::string& where) {
    std::string names;
    for (const auto& [name, pattern] : kFormats) {
      if (schema["format"] == name) {
        schema["pattern"] = pattern;
        schema.erase("format");
        return;
      }
      names += names.empty() ? name : fmt::format(", {}", name);
    }
    fail(ErrorKind::invalid, "{}.format = {} is not offered; {} are", where, brief(schema["format"]), names);
  }

  // Others XGrammar would read without thought of what a JSON string must escape.
  static void of_pattern(const Json& pattern, const std::string& where) {
    check(pattern.is_string(), ErrorKind::invalid, "{} = {} must be a text", where, brief(pattern));
    for (const char c : pattern.get_ref<const std::string&>())
      check(c >= ' ' && c <= '~', ErrorKind::invalid, "{} = {} has a character beyond ASCII; write it as \\uXXXX",
            where, brief(pattern));
  }

  void of_array(Json& schema, const std::string& where) {
    if (schema.contains("prefixItems") && schema["prefixItems"].is_array())
      for (size_t i = 0; i < schema["prefixItems"].size(); ++i)
        (*this)(schema["prefixItems"][i], fmt::format("{}.prefixItems[{}]", where, i));
    for (const char* name : {"items", "unevaluatedItems"})
      if (schema.contains(name)) (*this)(schema[name], where + "." + name);
    if (!schema.contains("items") && !schema.contains("prefixItems") && !schema.contains("unevaluatedItems"))
      schema["items"] = true;
  }

  void of_object(Json& schema, const std::string& where) {
    for (const char* name : {"additionalProperties", "unevaluatedProperties"})
      if (schema.contains(name)) (*this)(schema[name], where + "." + name);
    if (schema.contains("properties")) each_member(schema["properties"], where + ".properties");
    const bool some = schema.contains("properties") && !schema["properties"].empty();
    for (const Json& name : schema.contains("required") ? schema["required"] : Json::array())
      check(some && name.is_string() && schema["properties"].contains(name.get<std::string>()), ErrorKind::invalid,
            "{}.required has {}, which is none of its properties", where, brief(name));
    // A name that is not said could be one that is, with another value.
    if (some) {
      schema["additionalProperties"] = false;
      schema.erase("unevaluatedProperties");
    } else if (!schema.contains("additionalProperties") && !schema.contains("unevaluatedProperties") &&
               !schema.contains("properties")) {
      schema["additionalProperties"] = true;
    }
  }

  void each_member(Json& members, const std::string& where) {
    check(members.is_object(), ErrorKind::invalid, "{} = {} must be an object of schemas", where, brief(members));
    for (auto& [name, value] : members.items()) (*this)(value, where + "." + name.substr(0, 60));
  }

  const Json& root_;
};

}  // namespace

nlohmann::ordered_json checked_schema(const nlohmann::ordered_json& schema, const std::string& where) {
  Json changed = schema;
  SchemaCheck check_all(schema);
  check_all(changed, where);
  return changed;
}

}  // namespace hadal
