#include "text/tokenizer_files.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr struct {
  const char* name;
  std::optional<std::string> TokenizerFiles::*text;
} kFiles[] = {{"tokenizer.json", &TokenizerFiles::json},
              {"tiktoken.model", &TokenizerFiles::tiktoken},
              {"tokenizer_config.json", &TokenizerFiles::config},
              {"special_tokens_map.json", &TokenizerFiles::special_map},
              {"added_tokens.json", &TokenizerFiles::added}};

// chat_template.jinja and additional_chat_templates/*.jinja, as far as they are there.
std::vector<std::string> template_names(const fs::path& folder) {
  std::vector<std::string> names;
  if (fs::is_regular_file(folder / "chat_template.jinja")) names.emplace_back("chat_template.jinja");
  const fs::path more = "additional_chat_templates";
  if (fs::is_directory(folder / more))
    for (const auto& entry : fs::directory_iterator(folder / more))
      if (entry.is_regular_file() && entry.path().extension() == ".jinja")
        names.push_back((more / entry.path().filename()).string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> TokenizerFiles::by_name() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& file : kFiles)
    if (this->*file.text) all.emplace_back(file.name, *(this->*file.text));
  all.insert(all.end(), templates.begin(), templates.end());
  return all;
}

TokenizerFiles tokenizer_files_of(std::vector<std::pair<std::string, std::string>> texts) {
  TokenizerFiles files;
  for (auto& [name, text] : texts) {
    const auto known = std::find_if(std::begin(kFiles), std::end(kFiles),
                                    [&name = name](const auto& file) { return file.name == name; });
    if (known != std::end(kFiles))
      files.*known->text = std::move(text);
    else
      files.templates.emplace_back(name, std::move(text));
  }
  return files;
}

std::vector<std::string> tokenizer_file_names(const std::string& directory) {
  std::vector<std::string> names = template_names(directory);
  for (const auto& file : kFiles)
    if (fs::exists(fs::path(directory) / file.name)) names.emplace_back(file.name);
  return names;
}

bool holds_tokenizer(const std::string& directory) {
  return fs::exists(fs::path(directory) / "tokenizer.json") || fs::exists(fs::path(directory) / "tiktoken.model");
}

TokenizerFiles read_tokenizer_files(const std::string& path) {
  const bool directory = fs::is_directory(path);
  check(!directory || holds_tokenizer(path), ErrorKind::not_found,
        "no tokenizer at '{}': the directory has neither tokenizer.json nor tiktoken.model", path);
  check(directory || fs::exists(path), ErrorKind::not_found, "no tokenizer at '{}': no such file or directory", path);
  const fs::path folder = directory ? fs::path(path) : fs::path(path).parent_path();
  TokenizerFiles files;
  for (const auto& file : kFiles) {
    const bool model = file.text == &TokenizerFiles::json || file.text == &TokenizerFiles::tiktoken;
    if ((!directory && model) || (file.text == &TokenizerFiles::tiktoken && files.json)) continue;
    if (fs::exists(folder / file.name)) files.*file.text = read_file(folder / file.name);
  }
  for (const std::string& name : template_names(folder)) files.templates.emplace_back(name, read_file(folder / name));
  if (!directory) (fs::path(path).extension() == ".model" ? files.tiktoken : files.json) = read_file(path);
  return files;
}

}  // namespace hadal
