// The chat template of a Hugging Face model directory: chat_template.jinja, else "chat_template" of
// tokenizer_config.json (a text, or a list of {"name", "template"}), with the special tokens that the template sees as
// variables (bos_token, eos_token, ...; a text or an AddedToken object in tokenizer_config.json, else in
// special_tokens_map.json).
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "jinja/chat_template.h"

namespace hadal {

struct ChatFiles {
  std::string source;                                 // of the template
  std::string origin;                                 // the file it stands in
  std::map<std::string, std::string> special_tokens;  // name -> token
};

// Names of the directory's chat templates in their order, "default" for one that has none; empty where it has no
// template. Errors: corrupt.
std::vector<std::string> chat_template_names(const std::string& directory);

// Nothing when the directory has no template. `name` picks one of several ("default", "tool_use", ...).
// Errors: corrupt (no JSON, wrong types), not_found (several templates, none of this name: the message lists them).
std::optional<ChatFiles> read_chat_files(const std::string& directory, const std::string& name = "default");

// The same, parsed. Nothing when the directory has none; errors name the file.
std::optional<ChatTemplate> read_chat_template(const std::string& directory, const std::string& name = "default");

}  // namespace hadal
