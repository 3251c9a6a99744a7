// What of a request the chat's template is given.
#include <algorithm>

#include "base/json.h"
#include "server/api_error.h"
#include "server/chat.h"
#include "server/chat_tools.h"
#include "text/encode_chat.h"

namespace hadal {
namespace {

constexpr int64_t kMostMessages = 4096;

Json read_messages(const JsonFields& fields) {
  const Json* messages = fields.find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty())
    refuse("messages", "messages {} must be a list of messages {{\"role\": \"user\", \"content\": \"...\"}}",
           messages == nullptr ? "is missing; it" : "= " + shown(*messages));
  if (int64_t(messages->size()) > kMostMessages)
    refuse("messages", "messages has {} of them; at most {} are taken", messages->size(), kMostMessages);
  Json list = *messages;
  static const std::vector<std::string> roles = {"system", "developer", "user", "assistant", "tool"};
  for (size_t i = 0; i < list.size(); ++i) {
    Json& one = list[i];
    const std::string name = fmt::format("messages[{}]", i);
    if (!one.is_object()) refuse("messages", "{} = {} must be an object with role and content", name, shown(one));
    const Json role = one.contains("role") ? one["role"] : Json();
    if (!role.is_string() || std::find(roles.begin(), roles.end(), role.get<std::string>()) == roles.end())
      refuse("messages", "{}.role = {} must be system, developer, user, assistant or tool", name, shown(role));
    if (role == "developer") one["role"] = "system";  // templates know the older name
    const Json content = one.contains("content") ? one["content"] : Json();
    if (!content.is_string() && !content.is_array() && !content.is_null())
      refuse("messages", "{}.content = {} must be a text, or a list of parts of type text", name, shown(content));
    if (content.is_null() && role != "assistant")
      refuse("messages", "{}.content is missing; it is a text, or a list of parts of type text", name);
  }
  return list;
}

// Variables of the template: chat_template_kwargs, and what OpenAI's API says beside them.
Json variables_of(const JsonFields& fields, const ServedModel& model) {
  Json all;
  if (const Json* variables = fields.find("chat_template_kwargs")) {
    if (!variables->is_object())
      refuse("chat_template_kwargs", "chat_template_kwargs = {} must be an object of variables", shown(*variables));
    for (const char* name : {"messages", "tools", "documents", "add_generation_prompt"})
      if (variables->contains(name))
        refuse("chat_template_kwargs", "chat_template_kwargs.{} would not be used; give {} beside messages", name,
               name);
    all = *variables;
  }
  constexpr const char* kEffort = "reasoning_effort";
  const auto effort = fields.text(kEffort);
  if (!effort) return all;
  const auto& templates = model.chat_files().templates;
  const bool read = std::any_of(templates.begin(), templates.end(),
                                [](const NamedTemplate& one) { return one.source.find(kEffort) != std::string::npos; });
  if (!read) refuse(kEffort, "{} would change nothing: this model's chat template does not read it", kEffort);
  if (all.contains(kEffort)) refuse(kEffort, "{} stands in chat_template_kwargs too; give one", kEffort);
  all[kEffort] = *effort;
  return all;
}

}  // namespace

ChatInputs chat_of_request(const JsonFields& fields, const ServedModel& model) {
  ChatInputs inputs;
  inputs.messages = json_text(read_messages(fields));
  if (const Json tools = tools_of_request(fields); !tools.is_null()) inputs.tools = json_text(tools);
  if (const Json* documents = fields.find("documents")) {
    if (!documents->is_array()) refuse("documents", "documents = {} must be a list of objects", shown(*documents));
    inputs.documents = json_text(*documents);
  }
  if (const Json variables = variables_of(fields, model); !variables.is_null()) inputs.variables = json_text(variables);
  inputs.add_generation_prompt = fields.boolean("add_generation_prompt", true);
  return inputs;
}

ServedPrompt prompt_of_chat(const ServedModel& model, ChatInputs inputs) {
  const Tokenizer& words = model.words();
  if (!model.has_chat())
    throw ApiError(400, "this model has no chat template; let it go on from a text at /v1/completions", "messages",
                   "no_chat_template");
  const auto fragments =
      rendered_chat(model.chat_files(), model.text_model().model.directory.string(), std::move(inputs));
  ServedPrompt prompt;
  prompt.text = chat_text(fragments);
  model.check_length(prompt.text);
  prompt.ids = encode_chat(words, fragments);
  if (prompt.ids.empty()) refuse("messages", "the model's chat template wrote nothing for these messages");
  return prompt;
}

}  // namespace hadal
