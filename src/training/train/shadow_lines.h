// What the shadow check of a step found (proof/shadow_check.h), as lines of metrics, one of each rank; what the screen
// says of it; and its part of the report page.
#pragma once
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "comm/group.h"
#include "config/config.h"
#include "proof/shadow_check.h"

namespace hadal {

// The check of this step, where one is due: of a layer that the rank holds, in rotation.
std::unique_ptr<ShadowCheck> due_shadow_check(const Config& config, int64_t step, const Parameters& parameters);
// Behind the step, on all ranks: each has looked at a layer of its own, and every one hears what all found.
void tell_shadow(const Config& config, int64_t step, const ShadowCheck* check, Group& ranks,
                 const std::function<void(const nlohmann::ordered_json&)>& line);

// {kind, step, rank, layer, seconds, products: [{linear, result, error, x, dy, weight: {error, flushed, saturated,
// subnormal, binades, histogram}}]}; as_received where an operand came as codes
nlohmann::ordered_json shadow_line(const ShadowCheck& check, int64_t step, int64_t rank);

// Empty where no product is off by more than half above what is to be expected; else the worst of a line.
std::string shadow_warning(const nlohmann::ordered_json& line);

// Heat maps of layer and time for y, dx and dW, histograms and the worst products of the last round.
std::string shadow_charts(const std::vector<nlohmann::ordered_json>& lines, const std::string& run);
std::string shadow_table(const std::vector<nlohmann::ordered_json>& lines);

}  // namespace hadal
