// The plan of a run before it starts: learning rate, batch size, MTP weight and bias speed over the steps, as text
// pictures.
#pragma once
#include <string>

#include "config/config.h"

namespace hadal {

std::string draw_plan(const Config& config, int64_t columns = 72);

}  // namespace hadal
