// What of a configuration decides tokenised text, beside the content of files: two builds of one recipe from the same
// files are the same.
#pragma once
#include <cstdint>
#include <string>

#include "config/config.h"

namespace hadal::data {

std::string shard_recipe(const Config& config, int64_t unit_bytes);  // as JSON

}  // namespace hadal::data
