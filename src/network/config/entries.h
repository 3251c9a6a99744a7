// What files share whose configuration is a common part and entries on top of it: phases, and arms of a sweep. Private
// to the room.
#pragma once
#include <algorithm>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/config.h"

namespace hadal {

template <class List>
bool holds(const List& list, const std::string& word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

// Tables of `over` into those of `tree`; all else replaces what stood there.
void merge_tables(nlohmann::ordered_json& tree, const nlohmann::ordered_json& over);

// entry[key], which must be a string; `usual` where there is none. Throws invalid, beginning with `where`.
std::string text_of(const nlohmann::ordered_json& entry, const char* key, const std::string& usual,
                    const std::string& where);

// entry[key], a list of strings, which messages call `what`; none where there is no such key.
std::vector<std::string> list_of_texts(const nlohmann::ordered_json& entry, const char* key, const char* what,
                                       const std::string& where);

// entry["name"]: a word of small letters, digits, - and _ that is none of `taken`, which the directory that it will
// stand in has for other things, and that no entry before it has. Throws invalid; `what` is "a phase", "an arm".
std::string new_name(const nlohmann::ordered_json& entry, const char* what, std::span<const char* const> taken,
                     const std::function<bool(const std::string&)>& exists, const std::string& where);

// `common` with what the entry says on top, but for `own_keys`, which mean something else. Throws invalid.
Config with_entry(const Config& common, const nlohmann::ordered_json& entry, std::span<const char* const> own_keys,
                  const std::string& where);

// Errors of `checks` begin with `where`.
template <class Checks>
void naming(const std::string& where, const Checks& checks) {
  try {
    checks();
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", where, error.what()));
  }
}

}  // namespace hadal
