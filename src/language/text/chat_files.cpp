#include "text/chat_files.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "text/tokenizer_files.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using TextFiles = std::vector<std::pair<std::string, std::string>>;  // name, text

constexpr const char *kConfig = "tokenizer_config.json", *kMap = "special_tokens_map.json";

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

std::string template_text(const Json& value, const std::string& name, const fs::path& path) {
  check(value.is_string(), ErrorKind::corrupt, "'{}': the chat template '{}' is {}, not a text", path.string(), name,
        json_text(value).substr(0, 100));
  return value.get<std::string>();
}

void put(std::vector<NamedTemplate>& templates, NamedTemplate one) {
  for (NamedTemplate& known : templates) {
    if (known.name != one.name) continue;
    known = std::move(one);
    return;
  }
  templates.push_back(std::move(one));
}

// What "chat_template" of tokenizer_config.json holds.
std::vector<NamedTemplate> templates_of(const Json& config, const fs::path& path) {
  std::vector<NamedTemplate> templates;
  if (!config.contains("chat_template") || config["chat_template"].is_null()) return templates;
  const Json& value = config["chat_template"];
  const std::string origin = path.string();
  if (value.is_string()) return {{"default", value.get<std::string>(), origin}};
  check(value.is_array() || value.is_object(), ErrorKind::corrupt,
        "'{}': \"chat_template\" is neither a text nor a list nor an object of templates", origin);
  if (value.is_object()) {
    for (const auto& [name, text] : value.items()) put(templates, {name, template_text(text, name, path), origin});
    return templates;
  }
  for (const Json& one : value) {
    const bool whole = one.is_object() && one.contains("name") && one["name"].is_string() && one.contains("template");
    check(whole, ErrorKind::corrupt, "'{}': an entry of \"chat_template\" has no \"name\" and \"template\"", origin);
    const std::string name = one["name"].get<std::string>();
    put(templates, {name, template_text(one["template"], name, path), origin});
  }
  return templates;
}

// chat_template.jinja and additional_chat_templates/*.jinja among files by name.
std::vector<NamedTemplate> templates_in_files(const TextFiles& texts, const fs::path& folder) {
  std::vector<NamedTemplate> templates;
  for (const auto& [name, text] : texts)
    if (name == "chat_template.jinja") templates.push_back({"default", text, (folder / name).string()});
  for (const auto& [name, text] : texts)
    if (name.starts_with("additional_chat_templates/"))
      put(templates, {fs::path(name).stem().string(), text, (folder / name).string()});
  return templates;
}

std::string names_of(const ChatFiles& files) {
  std::string names;
  for (const NamedTemplate& one : files.templates) names += (names.empty() ? "'" : ", '") + one.name + "'";
  return names;
}

const NamedTemplate* named(const ChatFiles& files, const std::string& name) {
  for (const NamedTemplate& one : files.templates)
    if (one.name == name) return &one;
  return nullptr;
}

}  // namespace

ChatFiles chat_files_of(const TextFiles& texts, const std::string& directory) {
  const fs::path folder = directory;
  const auto find = [&](const char* name) {
    return std::find_if(texts.begin(), texts.end(), [&](const auto& file) { return file.first == name; });
  };
  const auto config_text = find(kConfig), map_text = find(kMap);
  ChatFiles files;
  files.templates = templates_in_files(texts, folder);
  const auto json = [&](const auto& file) {
    return parse_json<Json>(file->second, (folder / file->first).string(), {.object = true});
  };
  // The map goes before the names of the configuration, and counts not at all where that has its own added tokens.
  const Json config = config_text != texts.end() ? json(config_text) : Json::object();
  if (map_text != texts.end() && !config.contains("added_tokens_decoder"))
    add_tokens(json(map_text), folder / kMap, files.special_tokens);
  if (config_text != texts.end()) {
    add_tokens(config, folder / kConfig, files.special_tokens);
    if (files.templates.empty()) files.templates = templates_of(config, folder / kConfig);
  }
  return files;
}

ChatFiles read_chat_files(const std::string& directory) {
  TextFiles texts;
  for (const std::string& name : tokenizer_file_names(directory))
    if (name == kConfig || name == kMap || name.ends_with(".jinja"))
      texts.emplace_back(name, read_file(fs::path(directory) / name));
  return chat_files_of(texts, directory);
}

const NamedTemplate* chosen_template(const ChatFiles& files, const TemplateChoice& choice,
                                     const std::string& directory) {
  if (files.templates.empty()) return nullptr;
  if (!choice.name.empty()) {
    const NamedTemplate* found = named(files, choice.name);
    check(found != nullptr, ErrorKind::not_found, "'{}' has no chat template '{}', only {}", directory, choice.name,
          names_of(files));
    return found;
  }
  const NamedTemplate* found = choice.tools ? named(files, "tool_use") : nullptr;
  if (found == nullptr) found = named(files, "default");
  if (found == nullptr && files.templates.size() == 1) found = &files.templates[0];
  check(found != nullptr, ErrorKind::not_found,
        "'{}' has several chat templates, none of them named 'default': say which of {} is meant", directory,
        names_of(files));
  return found;
}

ChatTemplate parse_template_of(const NamedTemplate& chosen, const ChatFiles& files) {
  try {
    return ChatTemplate::parse(chosen.source, files.special_tokens);
  } catch (const Error& e) {
    const std::string name = chosen.name == "default" ? "" : " (chat template '" + chosen.name + "')";
    fail(e.kind(), "'{}'{}: {}", chosen.origin, name, e.what());
  }
}

std::optional<ChatTemplate> read_chat_template(const std::string& directory, const TemplateChoice& choice) {
  const ChatFiles files = read_chat_files(directory);
  const NamedTemplate* chosen = chosen_template(files, choice, directory);
  if (chosen == nullptr) return std::nullopt;
  return parse_template_of(*chosen, files);
}

}  // namespace hadal
