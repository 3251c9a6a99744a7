// From the formats to the one form; see dialogue.h.
#include "data/dialogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/json_members.h"

namespace hadal::data {
namespace {

using Json = nlohmann::ordered_json;

struct Refused {  // why a line holds no dialogue
  std::string why;
};
[[noreturn]] void refuse(std::string why) { throw Refused{std::move(why)}; }

const Json* member(const Json& object, const char* name) {  // null where it is absent or null
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string shown(const Json& value) {
  std::string text = json_text(value, {.lossy = true});
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

std::string text_of(const Json& object, const char* name, const char* what) {
  const Json* value = member(object, name);
  if (value == nullptr) refuse(fmt::format("{} lacks '{}'", what, name));
  if (!value->is_string()) refuse(fmt::format("'{}' of {} is {}, not a text", name, what, shown(*value)));
  return value->get<std::string>();
}

// A content: a text, or parts that are all texts.
std::string content_of(const Json& content, const std::string& what) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array())
    refuse(fmt::format("the content of {} is {}, neither a text nor text parts", what, shown(content)));
  std::string text;
  for (const Json& part : content) {
    const Json* words = part.is_object() ? member(part, "text") : nullptr;
    const std::string type = part.is_object() && part.contains("type") && part["type"].is_string()
                                 ? part["type"].get<std::string>()
                                 : "text";
    if (words == nullptr || !words->is_string() || type != "text")
      refuse(fmt::format("the content of {} has a part that is no text: {}", what, shown(part)));
    text += words->get<std::string>();
  }
  return text;
}

Json json_in_text(const std::string& text, const std::string& otherwise) {
  try {
    return parse_json<Json>(text, "a text");
  } catch (const Error&) {
    refuse(otherwise);
  }
}

Json tools_of(const Json& value) {
  Json tools = value;
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) return Json::array();
    tools = json_in_text(text, "'tools' is a text that is no JSON");
  }
  if (!tools.is_array()) refuse(fmt::format("'tools' is {}, not a list", shown(value)));
  return tools;
}

constexpr const char* kRoles[] = {"system", "developer", "user", "assistant", "tool"};

// One message of the format `messages`, in the one form.
Json message_of(const Json& given, size_t number) {
  std::string what = fmt::format("message {}", number);
  if (!given.is_object()) refuse(fmt::format("{} is {}, not an object with role and content", what, shown(given)));
  const std::string role = text_of(given, "role", what.c_str());
  if (std::find(std::begin(kRoles), std::end(kRoles), role) == std::end(kRoles))
    refuse(fmt::format("{} has the role {}; system, developer, user, assistant and tool are known", what,
                       shown(Json(role))));
  what += " (" + role + ")";
  Json message{{"role", role}, {"content", nullptr}};
  const Json* calls = member(given, "tool_calls");
  const bool has_calls = calls != nullptr && !(calls->is_array() && calls->empty());
  if (const Json* content = member(given, "content"))
    message["content"] = content_of(*content, what);
  else if (role != "assistant" || !has_calls)
    refuse(what + " has no content");
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const Json* reasoning = member(given, name);
    if (reasoning == nullptr || message.contains("reasoning_content")) continue;
    if (!reasoning->is_string()) refuse(fmt::format("'{}' of {} is {}, not a text", name, what, shown(*reasoning)));
    if (role == "assistant" && !reasoning->get<std::string>().empty()) message["reasoning_content"] = *reasoning;
  }
  if (has_calls) {
    if (role != "assistant" || !calls->is_array()) refuse(fmt::format("{} has tool_calls {}", what, shown(*calls)));
    message["tool_calls"] = *calls;
  }
  for (const char* name : {"name", "tool_call_id"})
    if (const Json* value = member(given, name)) message[name] = *value;
  if (const Json* weight = member(given, "weight")) {
    if (!weight->is_number() || (*weight != 0 && *weight != 1))
      refuse(fmt::format("the weight of {} is {}; 0 (not trained) and 1 are known", what, shown(*weight)));
    if (*weight == 0 && role == "assistant") message["weight"] = 0;
  }
  return message;
}

Json messages_of(const Json& list, const std::string& name) {
  if (!list.is_array()) refuse(fmt::format("'{}' is {}, not a list of messages", name, shown(list)));
  Json messages = Json::array();
  for (const Json& one : list) messages.push_back(message_of(one, messages.size() + 1));
  return messages;
}

Json simple(const char* role, const std::string& content) { return Json{{"role", role}, {"content", content}}; }

// What every dialogue has to be.
void check_roles(const Json& messages) {
  if (messages.empty()) refuse("the dialogue has no message");
  if (int64_t(messages.size()) > kMostMessages)
    refuse(fmt::format("a dialogue of {} messages; at most {} are taken", messages.size(), kMostMessages));
  bool user = false, assistant = false;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string role = messages[i]["role"].get<std::string>();
    user |= role == "user", assistant |= role == "assistant";
    if (i > 0 && role == messages[i - 1]["role"] && (role == "user" || role == "assistant"))
      refuse(fmt::format("message {} repeats the role '{}' of the one before", i + 1, role));
  }
  if (!assistant) refuse("no message is an assistant's: there is nothing to learn");
  if (!user) refuse("no message is a user's");
}

Json with_tools(Json dialogue, const Json& line) {
  if (const Json* tools = member(line, "tools")) {
    Json list = tools_of(*tools);
    if (!list.empty()) dialogue["tools"] = std::move(list);
  }
  return dialogue;
}

Json of_alpaca(const Json& line) {
  Json messages = Json::array();
  if (member(line, "system") != nullptr)
    if (std::string text = text_of(line, "system", "the line"); !text.empty())
      messages.push_back(simple("system", text));
  if (const Json* history = member(line, "history")) {
    if (!history->is_array()) refuse(fmt::format("'history' is {}, not a list of pairs", shown(*history)));
    for (const Json& pair : *history) {
      const bool right = pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_string();
      if (!right) refuse(fmt::format("'history' holds {}, not a question and its answer", shown(pair)));
      messages.push_back(simple("user", pair[0])), messages.push_back(simple("assistant", pair[1]));
    }
  }
  std::string question = text_of(line, "instruction", "the line");
  if (member(line, "input"))
    if (const std::string input = text_of(line, "input", "the line"); !input.empty()) question += "\n" + input;
  messages.push_back(simple("user", question));
  messages.push_back(simple("assistant", text_of(line, "output", "the line")));
  return Json{{"messages", messages}};
}

Json of_messages(const Json& line, const std::string& field) {
  return with_tools(Json{{"messages", messages_of(line[field], field)}}, line);
}

Json function_call(const std::string& value, size_t number) {
  const Json call = json_in_text(value, fmt::format("message {} (function_call) is no JSON", number));
  if (!call.is_object() || !call.contains("name") || !call["name"].is_string())
    refuse(fmt::format("message {} (function_call) is no JSON object with a name", number));
  const Json arguments = call.value("arguments", Json::object());
  return {{"role", "assistant"},
          {"content", nullptr},
          {"tool_calls",
           Json::array({{{"type", "function"}, {"function", {{"name", call["name"]}, {"arguments", arguments}}}}})}};
}

Json of_sharegpt(const Json& line, const std::string& field) {
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"system", "system"},     {"human", "user"},          {"user", "user"}, {"gpt", "assistant"},
      {"chatgpt", "assistant"}, {"assistant", "assistant"}, {"tool", "tool"}, {"observation", "tool"}};
  const Json& list = line[field];
  if (!list.is_array()) refuse(fmt::format("'{}' is {}, not a list", field, shown(list)));
  Json messages = Json::array();
  if (member(line, "system") != nullptr)
    if (std::string text = text_of(line, "system", "the line"); !text.empty())
      messages.push_back(simple("system", text));
  for (const Json& one : list) {
    const std::string what = fmt::format("message {}", messages.size() + 1);
    if (!one.is_object()) refuse(fmt::format("{} is {}, not an object with from and value", what, shown(one)));
    const std::string from = text_of(one, "from", what.c_str()), value = text_of(one, "value", what.c_str());
    if (from == "function_call") {
      messages.push_back(function_call(value, messages.size() + 1));
      continue;
    }
    const auto known =
        std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& n) { return n.first == from; });
    if (known == std::end(kNames))
      refuse(fmt::format("{} is from {}; system, human, gpt, tool, observation and function_call are known", what,
                         shown(Json(from))));
    messages.push_back(simple(known->second, value));
  }
  return with_tools(Json{{"messages", messages}}, line);
}

Json of_prompt_completion(const Json& line) {
  const Json *prompt = member(line, "prompt"), *completion = member(line, "completion");
  if (prompt == nullptr || completion == nullptr)
    refuse(fmt::format("the line lacks '{}'", prompt == nullptr ? "prompt" : "completion"));
  if (prompt->is_string() && completion->is_string()) return Json{{"prompt", *prompt}, {"completion", *completion}};
  if (prompt->is_string() != completion->is_string() || !prompt->is_array() || !completion->is_array())
    refuse("'prompt' and 'completion' are neither two texts nor two lists of messages");
  Json messages = messages_of(*prompt, "prompt");
  const size_t from = messages.size();
  for (const Json& one : *completion) messages.push_back(message_of(one, messages.size() + 1));
  Json dialogue{{"messages", messages}, {"completion_from", from}};
  return with_tools(std::move(dialogue), line);
}

Json dialogue_of(const Json& line, SourceFormat format, const std::string& field) {
  switch (format) {
    case SourceFormat::alpaca: return of_alpaca(line);
    case SourceFormat::messages: return of_messages(line, field);
    case SourceFormat::sharegpt: return of_sharegpt(line, field);
    case SourceFormat::prompt_completion: return of_prompt_completion(line);
    case SourceFormat::text: break;
  }
  fail(ErrorKind::internal, "texts are no dialogues");
}

}  // namespace

std::string dialogue_member(SourceFormat format, const std::string& field) {
  switch (format) {
    case SourceFormat::alpaca: return "instruction";
    case SourceFormat::messages: return field == "text" ? "messages" : field;
    case SourceFormat::sharegpt: return field == "text" ? "conversations" : field;
    case SourceFormat::prompt_completion: return "prompt";
    case SourceFormat::text: break;
  }
  return field;
}

std::string read_dialogue(std::string_view object, SourceFormat format, const std::string& field, std::string& dialogue,
                          int64_t& replaced) {
  const std::string name = dialogue_member(format, field);
  try {
    const Json line = parse_json<Json>(strict_json(object, replaced), "the line", {.kind = ErrorKind::invalid});
    if (!line.is_object()) return fmt::format("a JSON object with '{}' was expected", name);
    if (member(line, name.c_str()) == nullptr)
      return fmt::format("there is no '{}' (fields: {}), which format = \"{}\" has", name, json_member_names(object),
                         enum_name(format));
    const Json found = dialogue_of(line, format, name);
    if (found.contains("messages")) check_roles(found["messages"]);
    dialogue = json_text(found);
    return "";
  } catch (const Refused& refused) {
    return refused.why;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid) throw;
    return error.what();
  }
}

std::string words_of_dialogue(const std::string& dialogue) {
  const Json json = parse_json<Json>(dialogue, "a dialogue");
  if (!json.contains("messages")) return json["prompt"].get<std::string>() + json["completion"].get<std::string>();
  std::string words;
  for (const Json& message : json["messages"])
    for (const char* part : {"reasoning_content", "content"})
      if (const Json* text = member(message, part)) words += text->get<std::string>() + "\n";
  return words;
}

}  // namespace hadal::data
