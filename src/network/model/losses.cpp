#include "model/losses.h"

#include <algorithm>
#include <cmath>

#include "base/not_finite.h"

namespace hadal {

std::string RoutingFault::text() const {
  if (token >= 0)
    return fmt::format("the router's logits of token {} are not a number (first value {}), in layer {}", token,
                       std::isnan(first_logit) ? std::abs(first_logit) : first_logit, layer);  // -nan says no more
  return fmt::format("the selection bias of expert {} is not finite, in layer {}", bias_expert, layer);
}

void add_load(std::vector<std::vector<int64_t>>& load, const std::vector<std::vector<int64_t>>& other) {
  load.resize(std::max(load.size(), other.size()));
  for (size_t l = 0; l < other.size(); ++l) {
    load[l].resize(std::max(load[l].size(), other[l].size()));
    for (size_t e = 0; e < other[l].size(); ++e) load[l][e] += other[l][e];
  }
}

double LossSums::total(const LossWeights& weights) const {
  double sum = main * weights.main + balance;
  for (size_t k = 0; k < mtp.size() && k < weights.mtp.size(); ++k) sum += mtp[k] * weights.mtp[k];
  return sum;
}

void LossSums::merge(const LossSums& other) {
  main += other.main;
  main_count += other.main_count;
  domains.resize(std::max(domains.size(), other.domains.size()));
  for (size_t d = 0; d < other.domains.size(); ++d) domains[d].merge(other.domains[d]);
  balance += other.balance;
  mtp.resize(std::max(mtp.size(), other.mtp.size()));
  mtp_count.resize(std::max(mtp_count.size(), other.mtp_count.size()));
  for (size_t k = 0; k < other.mtp.size(); ++k) mtp[k] += other.mtp[k], mtp_count[k] += other.mtp_count[k];
  add_load(expert_load, other.expert_load);
  if (!fault) fault = other.fault;
}

void LossSums::check_routed() const {
  if (fault) throw NotFinite(fault.text());
}

}  // namespace hadal
