#include "data/domains.h"

#include <algorithm>

#include "data/corpus.h"

namespace hadal::data {

Domains domains_of(const DataConfig& config) {
  Domains domains;
  for (size_t s = 0; s < config.sources.size(); ++s) {
    const std::string& said = config.sources[s].domain;
    const std::string name = said.empty() ? source_name(config, s) : said;
    const auto at = std::find(domains.names.begin(), domains.names.end(), name);
    domains.of_source.push_back(int32_t(at - domains.names.begin()));
    if (at == domains.names.end()) domains.names.push_back(name);
  }
  return domains;
}

}  // namespace hadal::data
