#include "layout/stage_parts.h"

#include <algorithm>
#include <limits>

#include "arch/arch.h"
#include "base/error.h"

namespace hadal {
namespace {

// Weights that a token is multiplied with, [layer]; at [n_layers] those of the head and the MTP modules.
std::vector<double> work_of(const ModelConfig& config) {
  std::vector<double> work(size_t(config.n_layers) + 1, 0.0);
  const double head = double(config.vocab_size) * double(config.hidden_size);
  work.back() = head * double(1 + config.n_mtp);
  for (const ParameterSpec& spec : parameter_list(config)) {
    if (spec.layer < 0 || !is_matrix_product(spec)) continue;
    const double weights =
        double(spec.count()) / double(spec.n_experts()) * double(spec.n_experts() > 1 ? config.n_experts_per_token : 1);
    work[size_t(std::min(spec.layer, config.n_layers))] += weights;
  }
  return work;
}

}  // namespace

std::vector<StagePart> stage_parts(const ModelConfig& config, int64_t n_stages) {
  const int64_t n = config.n_layers;
  check(n_stages >= 1 && n_stages <= n, ErrorKind::invalid, "{} stages for a model of {} layers", n_stages, n);
  const std::vector<double> work = work_of(config);
  std::vector<double> before(size_t(n) + 1, 0.0);  // work of all layers before this one
  for (int64_t i = 0; i < n; ++i) before[size_t(i + 1)] = before[size_t(i)] + work[size_t(i)];
  // least[s][e]: the work of the fullest of s stages that hold layers [0, e), and where the last of them begins.
  struct Cut {
    double fullest = std::numeric_limits<double>::infinity();
    int64_t begin = 0;
  };
  std::vector<std::vector<Cut>> least(size_t(n_stages) + 1, std::vector<Cut>(size_t(n) + 1));
  least[0][0].fullest = 0;
  for (int64_t s = 1; s <= n_stages; ++s) {
    for (int64_t end = s; end <= n; ++end) {
      for (int64_t begin = s - 1; begin < end; ++begin) {
        const double own =
            before[size_t(end)] - before[size_t(begin)] + (end == n && s == n_stages ? work.back() : 0.0);
        const double fullest = std::max(own, least[size_t(s - 1)][size_t(begin)].fullest);
        Cut& cut = least[size_t(s)][size_t(end)];
        if (fullest < cut.fullest) cut = {fullest, begin};
      }
    }
  }
  std::vector<StagePart> parts(static_cast<size_t>(n_stages));
  int64_t end = n;
  for (int64_t s = n_stages; s > 0; --s) {
    const int64_t begin = least[size_t(s)][size_t(end)].begin;
    parts[size_t(s - 1)] = {begin, end, s == 1, s == n_stages};
    end = begin;
  }
  return parts;
}

std::vector<int64_t> stages_reading(const ModelConfig& config, const std::vector<StagePart>& parts,
                                    const ParameterSpec& spec) {
  const int64_t last = int64_t(parts.size()) - 1;
  if (spec.kind == ParameterKind::embedding) {
    const bool again = last > 0 && (config.n_mtp > 0 || config.tie_embeddings);
    return again ? std::vector<int64_t>{0, last} : std::vector<int64_t>{0};
  }
  if (spec.layer < 0 || spec.layer >= config.n_layers) return {last};
  for (int64_t s = 0; s <= last; ++s)
    if (spec.layer < parts[size_t(s)].end_layer) return {s};
  return {last};
}

}  // namespace hadal
