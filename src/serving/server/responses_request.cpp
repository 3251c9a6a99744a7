// A request for a response as one for a chat: input items to messages, tools and settings under their names there.
#include <algorithm>

#include "server/api_error.h"
#include "server/responses.h"

namespace hadal {
namespace {

constexpr size_t kMostItems = 4096;

std::string text_of_part(const Json& part, const std::string& name) {
  const Json type = part.is_object() && part.contains("type") ? part["type"] : Json();
  const char* const member = type == "refusal" ? "refusal" : "text";
  const bool known = type == "input_text" || type == "output_text" || type == "reasoning_text" || type == "refusal";
  if (!known || !part.contains(member) || !part[member].is_string())
    refuse("input", "{} = {} must be a part of type input_text or output_text, with its text", name, shown(part));
  return part[member].get<std::string>();
}

// Of a text, or of a list of parts.
std::string text_of(const Json& item, const char* member, const std::string& name) {
  const Json content = item.contains(member) ? item[member] : Json();
  const std::string where = name + "." + member;
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array())
    refuse("input", "{} = {} must be a text, or a list of parts of type input_text or output_text", where,
           shown(content));
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) text += text_of_part(content[i], fmt::format("{}[{}]", where, i));
  return text;
}

std::string member_of(const Json& item, const char* member, const std::string& name) {
  if (!item.contains(member) || !item[member].is_string())
    refuse("input", "{}.{} = {} must be a text", name, member, item.contains(member) ? shown(item[member]) : "nothing");
  return item[member].get<std::string>();
}

// What an assistant thought, said and called are items of their own here, and one message there.
class Messages {
 public:
  void add(const Json& item, const std::string& name) {
    if (!item.is_object()) refuse("input", "{} = {} must be an object", name, shown(item));
    const Json type = item.contains("type") && !item["type"].is_null() ? item["type"] : Json("message");
    if (type == "message")
      add_message(item, name);
    else if (type == "function_call")
      assistant()["tool_calls"].push_back(
          {{"id", member_of(item, "call_id", name)},
           {"type", "function"},
           {"function", {{"name", member_of(item, "name", name)}, {"arguments", member_of(item, "arguments", name)}}}});
    else if (type == "function_call_output")
      push({{"role", "tool"},
            {"tool_call_id", member_of(item, "call_id", name)},
            {"content", text_of(item, "output", name)}});
    else if (type == "reasoning")
      thought_ += item.contains("content") && !item["content"].is_null() ? text_of(item, "content", name) : "";
    else if (type == "item_reference")
      refuse("input", "{} refers to a stored item, and this server stores none; send the item itself", name);
    else
      refuse("input", "{}.type = {} is not offered; message, function_call, function_call_output and reasoning are",
             name, shown(type));
  }
  void push(Json message) { list_.push_back(std::move(message)); }
  Json take() { return std::move(list_); }

 private:
  void add_message(const Json& item, const std::string& name) {
    const Json role = item.contains("role") ? item["role"] : Json();
    if (role == "assistant") {
      assistant(true)["content"] = text_of(item, "content", name);
      return;
    }
    if (role != "user" && role != "system" && role != "developer")
      refuse("input", "{}.role = {} must be user, assistant, system or developer", name, shown(role));
    push({{"role", role}, {"content", text_of(item, "content", name)}});
  }

  // The message that the assistant's next item belongs to.
  Json& assistant(bool speaks = false) {
    const bool goes_on = !list_.empty() && list_.back()["role"] == "assistant" && thought_.empty() && !speaks;
    if (!goes_on) push({{"role", "assistant"}, {"content", nullptr}});
    if (!thought_.empty()) list_.back()["reasoning_content"] = std::exchange(thought_, {});
    return list_.back();
  }

  Json list_ = Json::array();
  std::string thought_;  // before the next item
};

Json messages_of(const JsonFields& fields) {
  Messages messages;
  if (const auto system = fields.text("instructions")) messages.push({{"role", "system"}, {"content", *system}});
  const Json* input = fields.find("input");
  if (input == nullptr || !(input->is_string() || input->is_array()) || input->empty())
    refuse("input", "input {} must be a text or a list of items",
           input == nullptr ? "is missing; it" : "= " + shown(*input));
  if (input->is_string()) {
    messages.push({{"role", "user"}, {"content", *input}});
    return messages.take();
  }
  if (input->size() > kMostItems)
    refuse("input", "input has {} items; at most {} are taken", input->size(), kMostItems);
  for (size_t i = 0; i < input->size(); ++i) messages.add((*input)[i], fmt::format("input[{}]", i));
  return messages.take();
}

// {"type": "function", "name": ..., ...} -> {"type": "function", "function": {"name": ..., ...}}
Json wrapped_function(const Json& flat, const char* field) {
  if (!flat.is_object() || !flat.contains("type") || flat["type"] != "function" || !flat.contains("name"))
    refuse(field, "{}: {} must be a function, {{\"type\": \"function\", \"name\": ...}}; other tools are not offered",
           field, shown(flat));
  Json function = flat;
  function.erase("type");
  return {{"type", "function"}, {"function", std::move(function)}};
}

void refuse_what_is_stored(const JsonFields& fields) {
  for (const char* name : {"previous_response_id", "conversation", "prompt"})
    if (fields.find(name) != nullptr)
      refuse(name, "{} refers to what is stored, and this server stores nothing; send all items in input", name);
  for (const char* name : {"store", "background"})
    if (fields.boolean(name))
      refuse(name, "{} = true is not offered: this server stores nothing, an answer goes to who asks for it", name);
}

void check_settings(const JsonFields& fields) {
  refuse_what_is_stored(fields);
  if (const Json* include = fields.find("include"); include != nullptr && *include != Json::array())
    refuse("include", "include = {} is not offered; [] is", shown(*include));
  if (const auto how = fields.text("truncation"); how && *how != "disabled")
    refuse("truncation", "truncation = {} is not offered; \"disabled\" is", shown(Json(*how)));
  for (const char* name : {"max_tool_calls", "top_logprobs"})
    if (fields.find(name) != nullptr) refuse(name, "{} is not offered", name);
  if (const Json* options = fields.find("stream_options")) {
    if (!options->is_object()) refuse("stream_options", "stream_options = {} must be an object", shown(*options));
    JsonFields(*options).check_names({{"include_obfuscation"}});
  }
  if (const Json* reasoning = fields.find("reasoning")) {
    if (!reasoning->is_object()) refuse("reasoning", "reasoning = {} must be an object", shown(*reasoning));
    JsonFields(*reasoning).check_names({{"effort"}});
  }
  const Json* text = fields.find("text");
  if (text == nullptr) return;
  if (!text->is_object()) refuse("text", "text = {} must be an object", shown(*text));
  const JsonFields inner(*text);
  inner.check_names({{"format", "verbosity"}});
  if (inner.find("verbosity") != nullptr)
    refuse("text", "text.verbosity is not offered; say in instructions how long the answer shall be");
}

// text.format, which has a schema's name and rules beside it, as a chat's response_format, which has them inside.
std::optional<Json> response_format(const JsonFields& fields) {
  const Json* text = fields.find("text");
  const Json* format = text != nullptr ? JsonFields(*text).find("format") : nullptr;
  if (format == nullptr) return std::nullopt;
  if (!format->is_object() || format->value("type", Json()) != "json_schema") return *format;
  Json schema = *format;
  schema.erase("type");
  return Json{{"type", "json_schema"}, {"json_schema", std::move(schema)}};
}

}  // namespace

Json chat_of_response(const Json& request, const ServedModel& model) {
  static const std::vector<std::string> elsewhere = {"n", "max_tokens", "return_token_ids"};
  static const std::vector<std::string> own = {
      "input",          "instructions", "max_output_tokens", "include", "truncation",
      "max_tool_calls", "top_logprobs", "reasoning",         "text",    "previous_response_id",
      "conversation",   "prompt",       "background",        "store",   "stream_options"};
  std::vector<std::string> shared = setting_names();
  for (const std::string& name : elsewhere) std::erase(shared, name);
  const JsonFields fields(request);
  fields.check_names(
      {own,
       shared,
       names_without_effect(),
       {"tools", "tool_choice", "parallel_tool_calls", "chat_template_kwargs", "documents", "structured_outputs"}});
  check_settings(fields);
  Json chat = request;
  for (const std::string& name : own) chat.erase(name);
  chat["messages"] = messages_of(fields);
  if (const auto most = fields.integer("max_output_tokens", 1, model.positions()))
    chat["max_completion_tokens"] = *most;
  if (const auto format = response_format(fields)) chat["response_format"] = *format;
  if (const Json* reasoning = fields.find("reasoning"); reasoning != nullptr && reasoning->contains("effort"))
    chat["reasoning_effort"] = (*reasoning)["effort"];
  if (const Json* tools = fields.find("tools")) {
    if (!tools->is_array()) refuse("tools", "tools = {} must be a list of functions", shown(*tools));
    chat["tools"] = Json::array();
    for (const Json& tool : *tools) chat["tools"].push_back(wrapped_function(tool, "tools"));
  }
  if (const Json* choice = fields.find("tool_choice")) {
    if (choice->is_object()) chat["tool_choice"] = wrapped_function(*choice, "tool_choice");
    const bool no_tools = !chat.contains("tools") || chat["tools"].empty();
    if (no_tools && (*choice == "auto" || *choice == "none")) chat.erase("tool_choice");
  }
  return chat;
}

}  // namespace hadal
