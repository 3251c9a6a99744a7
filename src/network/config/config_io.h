// Reading, overriding, checking and printing a Config.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace hadal {

Config load_config(const std::string& path);  // TOML; unknown keys refused with the nearest known one
Config config_from_toml(const std::string& text, const std::string& origin);
// "optim.lr=1e-4", "data.sources.0.paths=[\"x\"]"; `option` is what messages call them.
void apply_overrides(Config& config, const std::vector<std::string>& assignments, const char* option = "--set");
// "dp=2,pp=4,schedule=dualpipe": the section [parallel] in short; what it does not name is as by default.
ParallelConfig parse_layout(const std::string& text);
std::string layout_text(const ParallelConfig& parallel);  // "dp=2,pp=4,schedule=dualpipe"; of one rank "dp=1"
// The section [fp8], as far as this precision reads it: "tile = 128, ..."
std::string fp8_text(const Fp8Config& config, Precision precision);
std::string config_to_toml(const Config& config);  // complete, re-readable: load(config_to_toml(c)) == c
std::string config_to_json(const Config& config);
Config config_from_json(const std::string& text, const std::string& origin);
ModelConfig model_config_from_json(const std::string& text, const std::string& origin);  // our own field names
std::string model_config_to_json(const ModelConfig& config);
void validate(const Config& config);  // all cross-checks; throws invalid naming key, value and what is right
void validate(const ModelConfig& config, bool vocab_known = true);
// Of a run that keeps a moving average of its weights, or none, and whose model has so many positions.
void validate(const EvaluationConfig& evaluation, bool keeps_average, int64_t positions);
std::string config_help(const std::string& section = "");                       // every key, default and meaning
std::vector<std::string> config_differences(const Config& a, const Config& b);  // "optim.lr: 0.001 -> 0.002"

}  // namespace hadal
