#include "text/chat_files.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Every "..._token" of the object that is not known yet.
void add_tokens(const Json& object, const fs::path& path, std::map<std::string, std::string>& tokens) {
  for (const auto& [name, value] : object.items()) {
    if (!name.ends_with("_token") || value.is_null() || value.is_boolean())
      continue;  // add_bos_token and its like are flags
    const Json* text = value.is_object() && value.contains("content") ? &value["content"] : &value;
    check(text->is_string(), ErrorKind::corrupt, "'{}': \"{}\" is {}, not a token", path.string(), name,
          json_text(value).substr(0, 100));
    tokens.emplace(name, text->get<std::string>());
  }
}

struct NamedTemplate {
  std::string name, text;
};

// What "chat_template" of tokenizer_config.json holds.
std::vector<NamedTemplate> templates_of(const Json& config, const fs::path& path) {
  if (!config.contains("chat_template") || config["chat_template"].is_null()) return {};
  const Json& value = config["chat_template"];
  if (value.is_string()) return {{"default", value.get<std::string>()}};
  check(value.is_array(), ErrorKind::corrupt, "'{}': \"chat_template\" is neither a text nor a list", path.string());
  std::vector<NamedTemplate> templates;
  for (const Json& one : value) {
    const bool whole = one.is_object() && one.contains("name") && one["name"].is_string() && one.contains("template") &&
                       one["template"].is_string();
    check(whole, ErrorKind::corrupt, "'{}': an entry of \"chat_template\" has no \"name\" and \"template\"",
          path.string());
    templates.push_back({one["name"].get<std::string>(), one["template"].get<std::string>()});
  }
  return templates;
}

std::optional<std::string> template_of(const Json& config, const fs::path& path, const std::string& wanted) {
  const auto templates = templates_of(config, path);
  if (templates.empty()) return std::nullopt;
  if (config["chat_template"].is_string()) return templates[0].text;  // the only one, whatever is wanted
  std::string names;
  for (const auto& one : templates) {
    if (one.name == wanted) return one.text;
    names += (names.empty() ? "" : ", ") + one.name;
  }
  fail(ErrorKind::not_found, "'{}' has no chat template '{}', only: {}", path.string(), wanted, names);
}

}  // namespace

std::vector<std::string> chat_template_names(const std::string& directory) {
  const fs::path folder = directory, config = folder / "tokenizer_config.json";
  std::vector<std::string> names;
  if (fs::exists(folder / "chat_template.jinja")) {
    if (fs::is_directory(folder / "additional_chat_templates"))
      for (const auto& entry : fs::directory_iterator(folder / "additional_chat_templates"))
        if (entry.path().extension() == ".jinja") names.push_back(entry.path().stem().string());
    std::sort(names.begin(), names.end());
    names.insert(names.begin(), "default");
  } else if (fs::exists(config)) {
    for (const auto& one : templates_of(read_json(config, {.object = true}), config)) names.push_back(one.name);
  }
  return names;
}

std::optional<ChatFiles> read_chat_files(const std::string& directory, const std::string& name) {
  const fs::path folder = directory, jinja = folder / "chat_template.jinja",
                 config_path = folder / "tokenizer_config.json";
  const fs::path map_path = folder / "special_tokens_map.json",
                 other = folder / "additional_chat_templates" / (name + ".jinja");
  check(name.find('/') == std::string::npos && !name.starts_with('.'), ErrorKind::invalid,
        "'{}' is no name of a chat template", name);
  ChatFiles files;
  std::optional<std::string> source;
  if (fs::exists(config_path)) {
    const Json config = read_json(config_path, {.object = true});
    add_tokens(config, config_path, files.special_tokens);
    if (!fs::exists(jinja)) source = template_of(config, config_path, name);
    files.origin = config_path.string();
  }
  if (fs::exists(map_path)) add_tokens(read_json(map_path, {.object = true}), map_path, files.special_tokens);
  if (fs::exists(jinja)) {
    const fs::path path = name == "default" ? jinja : other;
    check(fs::exists(path), ErrorKind::not_found, "no chat template '{}': '{}' does not exist", name, path.string());
    source = read_file(path);
    files.origin = path.string();
  }
  if (!source) return std::nullopt;
  files.source = std::move(*source);
  return files;
}

std::optional<ChatTemplate> read_chat_template(const std::string& directory, const std::string& name) {
  std::optional<ChatFiles> files = read_chat_files(directory, name);
  if (!files) return std::nullopt;
  try {
    return ChatTemplate::parse(files->source, files->special_tokens);
  } catch (const Error& e) {
    fail(e.kind(), "'{}': {}", files->origin, e.what());
  }
}

}  // namespace hadal
