// hadal inspect --layout: who is where, who holds what, and what it takes on each rank, before anything is allocated.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "config/config.h"

namespace hadal {

// Throws invalid for a layout that the configuration's model cannot have.
void print_layout(const Config& config);
nlohmann::ordered_json layout_json(const Config& config);
// Who is where, and what ranks send each other, into an SVG file.
void draw_layout(const Config& config, const std::string& path);

}  // namespace hadal
