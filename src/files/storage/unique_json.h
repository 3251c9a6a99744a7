// JSON from a stranger's file: bounded depth, and no name twice in one object (which libraries resolve silently, each
// in its own way). Private to the room.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hadal {

// Throws corrupt, "WHERE: not a valid WHAT: reason".
nlohmann::json parse_unique_json(std::string_view text, const std::string& where, const std::string& what,
                                 int max_depth = 8);

}  // namespace hadal
