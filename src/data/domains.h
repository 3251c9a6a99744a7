// Domains: names under which losses are told apart. A source belongs to one, its own name where nothing is said;
// several sources may share one.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"

namespace hadal::data {

struct Domains {
  std::vector<std::string> names;  // in the order in which sources first name them
  std::vector<int32_t> of_source;  // an index of names for each source of the configuration
  bool several() const { return names.size() > 1; }
};

Domains domains_of(const DataConfig& config);

}  // namespace hadal::data
