// Between TOML texts and the tree of config_json.h. Private to the room.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace hadal {

nlohmann::ordered_json tree_of_toml(const std::string& text, const std::string& origin);  // throws invalid
std::string toml_of_tree(const nlohmann::ordered_json& tree);

}  // namespace hadal
