// The chat templates of a Hugging Face model directory, found and chosen as transformers does, with the special tokens
// that they see as variables (bos_token, eos_token, ...; a text or an AddedToken object in tokenizer_config.json, else
// in special_tokens_map.json).
//
// Where templates stand: chat_template.jinja is named "default", additional_chat_templates/NAME.jinja NAME; where there
// is any such file, "chat_template" of tokenizer_config.json does not count. That is a text ("default"), a list of
// {"name", "template"} or an object {name: template}; of equal names the last counts.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jinja/chat_template.h"

namespace hadal {

struct NamedTemplate {
  std::string name, source;
  std::string origin;  // the file it stands in
};

struct ChatFiles {
  std::vector<NamedTemplate> templates;               // in their order; files: "default" first, others by name
  std::map<std::string, std::string> special_tokens;  // name -> token
};

// Which of several templates a chat wants.
struct TemplateChoice {
  std::string name;    // a name, or empty: "tool_use" for a chat with tools if there is one, else "default", else the
                       // only one
  bool tools = false;  // the chat has tools
};

// Errors: corrupt (no JSON, wrong types).
ChatFiles read_chat_files(const std::string& directory);
// The same of files at hand, name and text (Tokenizer::files()); `directory` names them in messages.
ChatFiles chat_files_of(const std::vector<std::pair<std::string, std::string>>& texts, const std::string& directory);

// Null where there is no template at all. Throws not_found where none fits; the message lists the names.
const NamedTemplate* chosen_template(const ChatFiles& files, const TemplateChoice& choice,
                                     const std::string& directory);

// The chosen template, parsed; errors name its file.
ChatTemplate parse_template_of(const NamedTemplate& chosen, const ChatFiles& files);

// All three. Nothing where the directory has no template.
std::optional<ChatTemplate> read_chat_template(const std::string& directory, const TemplateChoice& choice = {});

}  // namespace hadal
