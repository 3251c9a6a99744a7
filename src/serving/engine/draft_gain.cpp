#include "engine/draft_gain.h"

#include <cmath>

#include "arch/arch.h"

namespace hadal {
namespace {

// Weights that rows of so many tokens touch, in elements: of the layers from `first` to `end`.
double touched(const ModelConfig& config, int64_t rows, int64_t first, int64_t end) {
  double sum = 0;
  for (const ParameterSpec& spec : parameter_list(config)) {
    if (!is_matrix_product(spec) || spec.layer < first || spec.layer >= end) continue;
    double count = 1;
    for (const int64_t n : spec.shape) count *= double(n);
    if (spec.shape.size() == 3) {  // experts
      const double share = double(config.n_experts_per_token) / double(config.n_routed_experts);
      count *= 1 - std::pow(1 - share, double(rows));
    }
    sum += count;
  }
  return sum;
}

}  // namespace

double draft_gain(const ModelConfig& config, double accepted, int64_t n_texts) {
  const double head = double(config.vocab_size) * double(config.hidden_size);
  const int64_t n = config.n_layers;
  const double plain = touched(config, n_texts, 0, n) + head;
  const double module = touched(config, n_texts + int64_t(accepted * double(n_texts)), n, n + 1) + head;
  const double drafted = touched(config, 2 * n_texts, 0, n) + head + module;
  return (1 + accepted) * plain / drafted;
}

}  // namespace hadal
