// The plan of a run before it starts: learning rate, batch size, MTP weight and bias speed over the steps, as text
// pictures.
#pragma once
#include <string>
#include <vector>

#include "base/exec.h"
#include "config/config.h"

namespace hadal {

std::string draw_plan(const Config& config, int64_t columns = 72);
// What a run will take of the memory available, by part, as it is chosen on this machine (resources.h): precision,
// micro-batch, what is recomputed. Of a tokenizer that is trained first with the size that it is asked for; of several
// ranks all together. Where nothing fits, why.
std::string draw_memory(Config config, const Exec& exec, uint64_t available_bytes);
// A column of blocks per value, above a line that says first, last and extreme ones.
std::string draw_values(const std::string& title, const std::vector<double>& values);

}  // namespace hadal
