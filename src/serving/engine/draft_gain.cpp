#include "engine/draft_gain.h"

#include <cmath>

#include "arch/arch.h"

namespace hadal {
namespace {

TouchedWeights of_layers(const ModelConfig& config, int64_t first, int64_t end) {
  TouchedWeights sum;
  sum.always = double(config.vocab_size) * double(config.hidden_size);  // the head
  if (config.n_routed_experts > 0) sum.chosen = double(config.n_experts_per_token) / double(config.n_routed_experts);
  for (const ParameterSpec& spec : parameter_list(config)) {
    if (!is_matrix_product(spec) || spec.layer < first || spec.layer >= end) continue;
    (spec.n_experts() > 1 ? sum.experts : sum.always) += double(spec.count());
  }
  return sum;
}

}  // namespace

double TouchedWeights::by(double n_tokens) const { return always + experts * (1 - std::pow(1 - chosen, n_tokens)); }

TouchedWeights touched_weights(const ModelConfig& config) { return of_layers(config, 0, config.n_layers); }
TouchedWeights touched_weights_of_draft(const ModelConfig& config) {
  return of_layers(config, config.n_layers, config.n_layers + 1);
}

DraftGain::DraftGain(const ModelConfig& config)
    : model_(touched_weights(config)), draft_(touched_weights_of_draft(config)) {}

double DraftGain::operator()(double accepted, int64_t n_texts) const {
  const double n = double(n_texts), of_module = double(n_texts + int64_t(accepted * n));
  return (1 + accepted) * model_.by(n) / (model_.by(2 * n) + draft_.by(of_module));
}

}  // namespace hadal
