// The files of a directory that make its tokenizer: tokenizer.json, or tiktoken.model where there is none, and those
// beside it that add tokens and settings (tokenizer_settings.h).
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hadal {

struct TokenizerFiles {
  std::optional<std::string> json;         // tokenizer.json
  std::optional<std::string> tiktoken;     // tiktoken.model; read only where there is no tokenizer.json
  std::optional<std::string> config;       // tokenizer_config.json
  std::optional<std::string> special_map;  // special_tokens_map.json
  std::optional<std::string> added;        // added_tokens.json
  // Chat templates in files of their own: "chat_template.jinja", "additional_chat_templates/NAME.jinja", and their
  // texts. They belong to the words of a model as those in tokenizer_config.json do, and change no token.
  std::vector<std::pair<std::string, std::string>> templates;

  std::vector<std::pair<std::string, std::string>> by_name() const;  // those that are there: name, text
};

// Of such a list; the inverse of by_name().
TokenizerFiles tokenizer_files_of(std::vector<std::pair<std::string, std::string>> texts);

// The files of `directory` that belong to a tokenizer, those of templates included.
std::vector<std::string> tokenizer_file_names(const std::string& directory);

// Whether the directory has tokenizer.json or tiktoken.model.
bool holds_tokenizer(const std::string& directory);

// `path` is a directory or one of the two files. Errors: not_found.
TokenizerFiles read_tokenizer_files(const std::string& path);

}  // namespace hadal
