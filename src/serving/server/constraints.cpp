#include "server/constraints.h"

#include "base/error.h"
#include "base/json.h"
#include "grammar/formats.h"
#include "server/api_error.h"

namespace hadal {
namespace {

constexpr const char* kResponse = "response_format";
constexpr const char* kStructured = "structured_outputs";

// What a schema's check throws, as a refusal of the field.
Json format_of_checked_schema(const Json& schema, const std::string& where, const char* name) {
  try {
    return format_of_schema(schema, where);
  } catch (const Error& error) {
    throw ApiError(400, error.what(), name);
  }
}

std::optional<Json> format_of_response(const Json& response) {
  const std::string type =
      response.is_object() && response.contains("type") && response["type"].is_string() ? response["type"] : "";
  if (type == "text") return {};
  if (type == "json_object") return format_of_any_object();
  if (type != "json_schema")
    refuse(kResponse, "response_format = {} is not offered; its type must be text, json_object or json_schema",
           shown(response));
  const Json asked = response.contains("json_schema") ? response["json_schema"] : Json();
  if (!asked.is_object() || !asked.contains("schema"))
    refuse(kResponse, "response_format.json_schema {} must be an object with \"name\" and \"schema\"",
           asked.is_null() ? "is missing; it" : "= " + shown(asked));
  const JsonFields inner(asked);
  inner.check_names({{"name", "description", "schema", "strict"}});
  inner.boolean("strict");  // the schema is followed with or without
  return format_of_checked_schema(asked["schema"], "response_format.json_schema.schema", kResponse);
}

// A schema as an object or, as vLLM takes it too, as its text.
Json schema_of(const Json& given) {
  if (!given.is_string()) return given;
  try {
    return parse_json<Json>(given.get<std::string>(), "structured_outputs.json",
                            {.levels = 100, .unique_names = true, .kind = ErrorKind::invalid});
  } catch (const Error& error) {
    throw ApiError(400, error.what(), kStructured);
  }
}

Json format_of_choice(const Json& choices) {
  const bool some = choices.is_array() && !choices.empty();
  if (!some) refuse(kStructured, "structured_outputs.choice = {} must be a list of texts", shown(choices));
  std::vector<std::string> texts;
  for (const Json& one : choices) {
    if (!one.is_string() || one.get_ref<const std::string&>().empty())
      refuse(kStructured, "structured_outputs.choice has {}; each must be a text that is not empty", shown(one));
    texts.push_back(one.get<std::string>());
  }
  return format_of_choices(texts);
}

std::optional<Json> format_of_structured(const Json& asked) {
  if (!asked.is_object()) refuse(kStructured, "structured_outputs = {} must be an object", shown(asked));
  const JsonFields fields(asked);
  static const std::vector<std::string> kinds = {"json", "json_object", "regex", "choice", "grammar"};
  fields.check_names({kinds});
  std::string kind;
  for (const std::string& one : kinds) {
    if (fields.find(one.c_str()) == nullptr) continue;
    if (!kind.empty()) refuse(kStructured, "structured_outputs has both {} and {}; give one", kind, one);
    kind = one;
  }
  if (kind.empty())
    refuse(kStructured, "structured_outputs says nothing; give json, json_object, regex, choice or grammar");
  if (kind == "json_object")
    return fields.boolean("json_object") ? std::optional(format_of_any_object()) : std::nullopt;
  if (kind == "json") return format_of_checked_schema(schema_of(asked["json"]), "structured_outputs.json", kStructured);
  if (kind == "choice") return format_of_choice(asked["choice"]);
  const std::string text = *fields.text(kind.c_str());
  return kind == "regex" ? format_of_regex(text) : format_of_grammar(text);
}

}  // namespace

const std::vector<std::string>& constraint_names() {
  static const std::vector<std::string> names = {kResponse,      kStructured,     "guided_json",
                                                 "guided_regex", "guided_choice", "guided_grammar"};
  return names;
}

std::optional<Json> format_of_request(const JsonFields& fields) {
  for (const char* name : {"guided_json", "guided_regex", "guided_choice", "guided_grammar"})
    if (fields.find(name) != nullptr)
      refuse(name, "{} is an old name; write \"structured_outputs\": {{\"{}\": ...}}", name, name + 7);
  std::optional<Json> format, structured;
  if (const Json* response = fields.find(kResponse)) format = format_of_response(*response);
  if (const Json* asked = fields.find(kStructured)) structured = format_of_structured(*asked);
  if (format && structured)
    refuse(kStructured, "structured_outputs and response_format both say what to write; give one");
  return format ? format : structured;
}

const char* name_of_constraint(const JsonFields& fields) {
  return fields.find(kStructured) != nullptr ? kStructured : kResponse;
}

void constrain(AnswerSettings& settings, const ServingParts& parts, const Json& format, const char* name) {
  if (parts.grammars == nullptr) refuse(name, "{} needs a tokenizer, which this model has not", name);
  try {
    settings.format = json_text(format);
    settings.constraint =
        parts.compiles ? parts.grammars->constraint(settings.format) : parts.grammars->kept(settings.format);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid && error.kind() != ErrorKind::unsupported) throw;
    throw ApiError(400, fmt::format("{} cannot be followed: {}", name, error.what()), name);
  }
  if (!settings.constraint) throw FormNotCompiled();
}

}  // namespace hadal
