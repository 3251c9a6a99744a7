// Config as a JSON tree: the common form behind TOML files, overrides, checkpoints and comparisons. Private to the
// room.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/sweep_config.h"

namespace hadal {

nlohmann::ordered_json config_to_tree(const Config& config);
nlohmann::ordered_json model_config_to_tree(const ModelConfig& config);
Config config_from_tree(const nlohmann::ordered_json& tree, const std::string& origin);
SweepConfig sweep_config_from_tree(const nlohmann::ordered_json& tree, const std::string& origin);

}  // namespace hadal
