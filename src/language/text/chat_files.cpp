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
using Json = nlohmann::ordered_json;

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

// chat_template.jinja and additional_chat_templates/*.jinja.
std::vector<NamedTemplate> templates_in_files(const fs::path& folder) {
  std::vector<NamedTemplate> templates;
  const fs::path own = folder / "chat_template.jinja", more = folder / "additional_chat_templates";
  if (fs::exists(own)) templates.push_back({"default", read_file(own), own.string()});
  std::vector<fs::path> others;
  if (fs::is_directory(more))
    for (const auto& entry : fs::directory_iterator(more))
      if (entry.path().extension() == ".jinja") others.push_back(entry.path());
  std::sort(others.begin(), others.end());
  for (const fs::path& path : others) put(templates, {path.stem().string(), read_file(path), path.string()});
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

ChatFiles read_chat_files(const std::string& directory) {
  const fs::path folder = directory, config_path = folder / "tokenizer_config.json",
                 map_path = folder / "special_tokens_map.json";
  ChatFiles files;
  files.templates = templates_in_files(folder);
  // The map goes before the names of the configuration, and counts not at all where that has its own added tokens.
  const Json config = fs::exists(config_path) ? read_json<Json>(config_path, {.object = true}) : Json::object();
  if (fs::exists(map_path) && !config.contains("added_tokens_decoder"))
    add_tokens(read_json<Json>(map_path, {.object = true}), map_path, files.special_tokens);
  if (fs::exists(config_path)) {
    add_tokens(config, config_path, files.special_tokens);
    if (files.templates.empty()) files.templates = templates_of(config, config_path);
  }
  return files;
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
