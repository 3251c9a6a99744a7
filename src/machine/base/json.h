// JSON from outside (files, users, other programs): one way to read it, and one outcome when it is not as it should be;
// and one way to write it. The library's parser and printer are compiled here alone: in every file that needs them they
// would take seconds.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace hadal {

struct JsonRules {
  int levels = 64;                      // of arrays and objects inside each other
  bool object = false;                  // the whole must be an object
  bool unique_names = false;            // no name twice in one object, which readers resolve silently, each its own way
  bool integers = false;                // all numbers are int64 or uint64: to read others as integers is undefined
  ErrorKind kind = ErrorKind::corrupt;  // of the Error; invalid where a user wrote the text
};

// Throws "ORIGIN: not valid JSON (...)", or what else is wrong with it. Json is nlohmann::json or ordered_json.
template <class Json = nlohmann::json>
Json parse_json(std::string_view text, const std::string& origin, const JsonRules& rules = {});

template <class Json = nlohmann::json>
Json read_json(const std::filesystem::path& file, const JsonRules& rules = {});

struct JsonStyle {
  int indent = -1;     // spaces per level; -1: all on one line
  bool ascii = false;  // all beyond ASCII as escapes
  bool lossy = false;  // what is no UTF-8 in a string becomes U+FFFD, for people and logs, instead of being refused
};

// A value as JSON text. Throws Json::type_error where a string is no UTF-8 and the style is not lossy.
template <class Json>
std::string json_text(const Json& json, const JsonStyle& style = {});

// Whether JSON text nests arrays and objects deeper than this. Printing and comparing such values calls itself once per
// level: text from outside is asked this before it is parsed.
bool nests_deeper_than(std::string_view json, int levels);

}  // namespace hadal
