// Merging and reading entries of a configuration.
#include "config/entries.h"

#include <fmt/ranges.h>

#include "base/json.h"
#include "config/config_json.h"

namespace hadal {

using nlohmann::ordered_json;

void merge_tables(ordered_json& tree, const ordered_json& over) {
  for (const auto& item : over.items()) {
    ordered_json& place = tree[item.key()];
    if (place.is_object() && item.value().is_object()) {
      merge_tables(place, item.value());
    } else {
      place = item.value();
    }
  }
}

std::string text_of(const ordered_json& entry, const char* key, const std::string& usual, const std::string& where) {
  if (!entry.contains(key)) return usual;
  check(entry[key].is_string(), ErrorKind::invalid, "{}: {} = {} must be a string", where, key,
        json_text(entry[key], {.lossy = true}));
  return entry[key].get<std::string>();
}

std::vector<std::string> list_of_texts(const ordered_json& entry, const char* key, const char* what,
                                       const std::string& where) {
  std::vector<std::string> all;
  if (!entry.contains(key)) return all;
  const auto refuse = [&] { fail(ErrorKind::invalid, "{}: {} must be a list of {}", where, key, what); };
  if (!entry[key].is_array()) refuse();
  for (const ordered_json& text : entry[key]) {
    if (!text.is_string()) refuse();
    all.push_back(text.get<std::string>());
  }
  return all;
}

std::string new_name(const ordered_json& entry, const char* what, std::span<const char* const> taken,
                     const std::function<bool(const std::string&)>& exists, const std::string& where) {
  const std::string name = text_of(entry, "name", "", where);
  const bool plain = !name.empty() && name.size() <= 64 && name[0] != '-' &&
                     name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_") == std::string::npos;
  check(
      plain && !holds(taken, name), ErrorKind::invalid,
      "{}: name = \"{}\" must be a word of small letters, digits, - and _ that names a directory of the run, and none "
      "of {}",
      where, name, fmt::join(taken, ", "));
  check(!exists(name), ErrorKind::invalid, "{}: there is {} '{}' before it; names differ", where, what, name);
  return name;
}

Config with_entry(const Config& common, const ordered_json& entry, std::span<const char* const> own_keys,
                  const std::string& where) {
  ordered_json tree = config_to_tree(common), own = entry;
  for (const char* key : own_keys) own.erase(key);
  merge_tables(tree, own);
  return config_from_tree(tree, where);
}

}  // namespace hadal
