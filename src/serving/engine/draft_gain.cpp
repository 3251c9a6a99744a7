#include "engine/draft_gain.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "arch/arch.h"

namespace hadal {
namespace {

constexpr int64_t kDraftsToJudgeBy = 100;

double chosen_share(const ModelConfig& config) {
  return config.n_routed_experts > 0 ? double(config.n_experts_per_token) / double(config.n_routed_experts) : 0;
}

// size: what is counted of a weight.
template <class Weights, class Size>
TouchedWeights of_layers(const ModelConfig& config, const Weights& weights, int64_t first, int64_t end, Size size) {
  TouchedWeights sum;
  sum.chosen = chosen_share(config);
  for (const auto& weight : weights) {
    const auto& [spec, n] = size(weight);
    const bool head = spec.kind == (config.tie_embeddings ? ParameterKind::embedding : ParameterKind::head);
    if (!head && (!is_matrix_product(spec) || spec.layer < first || spec.layer >= end)) continue;
    (spec.n_experts() > 1 ? sum.experts : sum.always) += n;
  }
  return sum;
}
TouchedWeights elements_of_layers(const ModelConfig& config, int64_t first, int64_t end) {
  return of_layers(config, parameter_list(config), first, end,
                   [](const ParameterSpec& spec) { return std::pair(spec, double(spec.count())); });
}
TouchedWeights bytes_of_layers(const ModelConfig& config, const Parameters& parameters, int64_t first, int64_t end) {
  return of_layers(config, parameters, first, end, [](const Parameter* parameter) {
    return std::pair(parameter->spec, double(parameter->value.bytes()));
  });
}

}  // namespace

double TouchedWeights::by(double n_tokens) const { return always + experts * (1 - std::pow(1 - chosen, n_tokens)); }

TouchedWeights touched_weights(const ModelConfig& config) { return elements_of_layers(config, 0, config.n_layers); }
TouchedWeights touched_weights_of_draft(const ModelConfig& config) {
  return elements_of_layers(config, config.n_layers, config.n_layers + 1);
}
TouchedWeights touched_bytes(const ModelConfig& config, const Parameters& parameters) {
  return bytes_of_layers(config, parameters, 0, config.n_layers);
}
TouchedWeights touched_bytes_of_draft(const ModelConfig& config, const Parameters& parameters) {
  return bytes_of_layers(config, parameters, config.n_layers, config.n_layers + 1);
}

void DraftCounts::add(int64_t n_tried, int64_t n_right) {
  for (int64_t place = 0; place < n_tried; ++place) ++tried[size_t(place)], right[size_t(place)] += place < n_right;
}
int64_t DraftCounts::all_tried() const { return std::accumulate(tried.begin(), tried.end(), int64_t(0)); }
int64_t DraftCounts::all_right() const { return std::accumulate(right.begin(), right.end(), int64_t(0)); }

DraftGain::DraftGain(const ModelConfig& config)
    : n_modules_(config.n_mtp), model_(touched_weights(config)), module_(touched_weights_of_draft(config)) {}

double DraftGain::operator()(std::span<const double> right, int64_t n_texts) const {
  if (right.empty()) return 1;
  const int64_t k = int64_t(right.size());
  const double n = double(n_texts), tokens = std::accumulate(right.begin(), right.end(), 1.0);
  double read = model_.by(n * double(1 + k));
  for (int64_t i = 0; i < std::max(k, n_modules_); ++i) read += module_.by(i < n_modules_ ? n * tokens : n);
  return tokens * model_.by(n) / read;
}

int64_t DraftGain::choose(const DraftCounts& seen, int64_t n_texts) const {
  if (seen.tried[0] < kDraftsToJudgeBy) return 1;
  std::vector<double> right;
  double most = 1;
  int64_t best = 0;
  for (size_t place = 0; place < size_t(kMostDrafts); ++place) {
    const bool judged = seen.tried[place] >= kDraftsToJudgeBy;
    right.push_back(judged ? double(seen.right[place]) / double(seen.tried[place]) : right.back() * right.front());
    const double gain = (*this)(right, n_texts);
    if (gain > most) most = gain, best = int64_t(right.size());
  }
  return best;
}

}  // namespace hadal
