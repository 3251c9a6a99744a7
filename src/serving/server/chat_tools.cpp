#include "server/chat_tools.h"

#include <algorithm>

#include "base/error.h"
#include "grammar/formats.h"
#include "server/api_error.h"

namespace hadal {
namespace {

constexpr const char* kChoice = "tool_choice";

enum class ToolChoice { automatic, none, required, named };

ToolChoice choice_of(const JsonFields& fields) {
  const Json* choice = fields.find(kChoice);
  if (choice == nullptr || *choice == "auto") return ToolChoice::automatic;
  if (*choice == "none") return ToolChoice::none;
  if (*choice == "required") return ToolChoice::required;
  const bool named = choice->is_object() && choice->contains("type") && (*choice)["type"] == "function" &&
                     choice->contains("function") && (*choice)["function"].is_object() &&
                     (*choice)["function"].contains("name") && (*choice)["function"]["name"].is_string();
  if (!named)
    refuse(kChoice,
           "tool_choice = {} must be \"auto\", \"none\", \"required\", or {{\"type\": \"function\", \"function\": "
           "{{\"name\": ...}}}}",
           shown(*choice));
  return ToolChoice::named;
}

// A name that stands in a call as it is.
void check_tool_name(const std::string& name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  };
  if (name.empty() || name.size() > 64 || !std::all_of(name.begin(), name.end(), fits))
    refuse("tools", "the tool's name {} must have 1 to 64 letters, digits, '_', '-' or '.' to be called by force",
           shown(name));
}

std::vector<ToolFormat> callable(const Json& tools, const std::string& only) {
  std::vector<ToolFormat> all;
  for (size_t i = 0; i < tools.size(); ++i) {
    const Json& function = tools[i]["function"];
    const std::string name = function["name"];
    if (!only.empty() && name != only) continue;
    check_tool_name(name);
    const Json none = {{"type", "object"}, {"properties", Json::object()}};
    const bool described = function.contains("parameters") && !function["parameters"].is_null();
    try {
      all.push_back({name, format_of_schema(described ? function["parameters"] : none,
                                            fmt::format("tools[{}].function.parameters", i))});
    } catch (const Error& error) {
      throw ApiError(400, error.what(), "tools");
    }
  }
  return all;
}

// V3 and R1 write a call's arguments between fences, V3.1 as they are: as the model's own template shows it calls.
bool writes_fences(const ServedModel& model) {
  const auto& templates = model.chat_files().templates;
  return std::any_of(templates.begin(), templates.end(),
                     [](const NamedTemplate& one) { return one.source.find("```json") != std::string::npos; });
}

}  // namespace

Json tools_of_request(const JsonFields& fields) {
  const Json* tools = fields.find("tools");
  const bool some = tools != nullptr && !(tools->is_array() && tools->empty());
  const ToolChoice choice = choice_of(fields);
  if (fields.find(kChoice) != nullptr && !some) refuse(kChoice, "tool_choice is given, but no tools are");
  if (!some) return nullptr;
  if (!tools->is_array()) refuse("tools", "tools = {} must be a list of functions", shown(*tools));
  for (size_t i = 0; i < tools->size(); ++i) {
    const Json& tool = (*tools)[i];
    const bool fits = tool.is_object() && tool.contains("type") && tool["type"] == "function" &&
                      tool.contains("function") && tool["function"].is_object() && tool["function"].contains("name") &&
                      tool["function"]["name"].is_string();
    if (!fits)
      refuse("tools", "tools[{}] = {} must be {{\"type\": \"function\", \"function\": {{\"name\": ...}}}}", i,
             shown(tool));
  }
  return choice == ToolChoice::none ? Json() : *tools;
}

std::optional<Json> format_with_tools(const JsonFields& fields, const ServedModel& model,
                                      const std::optional<Json>& answer) {
  const Json tools = tools_of_request(fields);
  const ToolChoice choice = choice_of(fields);
  const bool forced = choice == ToolChoice::required || choice == ToolChoice::named;
  if (tools.is_null() || (!forced && !answer)) return answer;
  if (forced && answer)
    refuse(kChoice, "tool_choice forces a call, and {} another answer; give one of them",
           fields.find("structured_outputs") != nullptr ? "structured_outputs" : "response_format");
  const std::string only = choice == ToolChoice::named ? (*fields.find(kChoice))["function"]["name"] : "";
  const std::vector<ToolFormat> formats = callable(tools, only);
  if (formats.empty()) refuse(kChoice, "tool_choice names '{}', which is none of the tools", only.substr(0, 80));
  const bool several = choice != ToolChoice::named && fields.boolean("parallel_tool_calls", true);
  Json calls = format_of_calls(model.words(), formats, writes_fences(model), several);
  if (forced) return calls;
  return Json{{"type", "or"}, {"elements", Json::array({*answer, std::move(calls)})}};
}

}  // namespace hadal
