// YAML of task files, as JSON. Scalars without quotes mean what PyYAML's safe loader makes of them (YAML 1.1: yes, no,
// on and off are truth values, 1e5 is a text). What task files of strangers need not have is refused by name and line:
// tags (!function and all others), anchors and aliases, several documents, a key that stands twice, keys that are no
// texts, dates. Depth, nodes and bytes are bounded before anything is built.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hadal::eval {

struct YamlLimits {
  int64_t bytes = 1 << 20, nodes = 100'000, depth = 32;
};

// Throws corrupt for what is no YAML, unsupported for what is refused, both as "ORIGIN: line N: ...".
nlohmann::ordered_json read_yaml(std::string_view text, const std::string& origin, const YamlLimits& limits = {});

// What a scalar without quotes is. Throws Error for numbers with colons and dates, without a place.
nlohmann::ordered_json plain_scalar(const std::string& text);

}  // namespace hadal::eval
