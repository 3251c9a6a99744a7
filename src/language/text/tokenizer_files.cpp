#include "text/tokenizer_files.h"

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

}  // namespace

std::vector<std::pair<std::string, std::string>> TokenizerFiles::by_name() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& file : kFiles)
    if (this->*file.text) all.emplace_back(file.name, *(this->*file.text));
  return all;
}

const std::vector<std::string>& tokenizer_file_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& file : kFiles) all.emplace_back(file.name);
    return all;
  }();
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
  if (!directory) (fs::path(path).extension() == ".model" ? files.tiktoken : files.json) = read_file(path);
  return files;
}

}  // namespace hadal
