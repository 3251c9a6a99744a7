// The plan of a run before it starts: learning rate, batch size, MTP weight and bias speed over the steps, as text
// pictures.
#pragma once
#include <string>
#include <vector>

#include "config/config.h"

namespace hadal {

std::string draw_plan(const Config& config, int64_t columns = 72);
// A column of blocks per value, above a line that says first, last and extreme ones.
std::string draw_values(const std::string& title, const std::vector<double>& values);

}  // namespace hadal
