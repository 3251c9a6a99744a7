// Values as Python writes and reads them: task files were made for a program in Python.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace hadal::eval {

// str(value) of a value of JSON.
std::string python_text(const nlohmann::ordered_json& value);

// ast.literal_eval of lists, tuples, texts, numbers, True, False and None; nothing for what is none of these, or nests
// deeper than 16.
std::optional<nlohmann::ordered_json> python_literal(std::string_view text);

// len(text) of valid UTF-8: characters.
int64_t python_length(std::string_view text);

}  // namespace hadal::eval
