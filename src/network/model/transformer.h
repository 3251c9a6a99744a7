// Transformer: the whole model of one rank, as the trainer, the scorer and the generator use it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/model_config.h"
#include "model/options.h"
#include "nn/micro_batch.h"
#include "nn/parameter.h"

namespace hadal {

// Weights of the loss terms, so that a micro-batch adds its exact share of the global batch's means.
struct LossWeights {
  double main = 0;          // 1 / valid targets of the global batch
  std::vector<double> mtp;  // per depth: lambda / (D * valid targets of that depth in the global batch)
  double balance = 0;       // alpha / sequences of the global batch
};

// Sums over the micro-batch (not yet divided), so that accumulation is exact. merge() adds.
struct LossSums {
  double main = 0;  // sum of -log p over valid targets
  int64_t main_count = 0;
  std::vector<double> mtp;
  std::vector<int64_t> mtp_count;
  double balance = 0;                             // already weighted
  std::vector<std::vector<int64_t>> expert_load;  // [MoE layer, MTP's last][expert] tokens, forward only counted once
  double total(const LossWeights& weights) const;
  void merge(const LossSums& other);
};

// Names and times of the parts of a step, for the report's breakdown.
struct PartTimes {
  std::vector<std::pair<std::string, double>> seconds;
};

// Latent cache of one text being generated: per layer the normed latent and the rotated rope key of every position
// (§1.3).
struct LatentCache;

// Observers for tests, trace and route replay.
struct RouteReplay {  // experts of every MoE layer in order of execution; filled when recording, read when replaying
  bool replay = false;
  std::vector<std::vector<int32_t>> experts;
};

// Called with what a forward computes, in this order: "embedding"; of every layer "layers.N.moe.experts" [T, k] (i32,
// ascending), "layers.N.moe.weights" [T, k] and "layers.N.output" [T, hidden], the residual stream after it (MTP
// modules follow as layers n_layers ..., on fewer rows); "final_norm". Tensors are views, good until it returns.
using Observer = std::function<void(const std::string& name, const Tensor& value)>;

class Transformer {
 public:
  Transformer(const ModelConfig& config, const ModelOptions& options, const Exec& exec);
  ~Transformer();

  const ModelConfig& config() const;
  const ModelOptions& options() const;
  const Exec& exec() const;
  Parameters parameters() const;  // order of parameter_list()
  Parameter& parameter(const std::string& name) const;
  void initialize(uint64_t seed);  // from spec.init_std, keyed by (seed, name, element)
  void refresh_values();           // value = master converted, after loading masters
  void zero_gradients();

  // Forward, backward-input and backward-weight of one micro-batch; gradients are added.
  LossSums forward_backward(const MicroBatch& batch, const LossWeights& weights, RouteReplay* routes = nullptr);
  // Forward only: losses as above; if log_probs is not null it receives log p(target) per row (0 where target is -1).
  // The balance loss, which has a weight only in training, stays 0.
  LossSums forward(const MicroBatch& batch, std::vector<double>* log_probs = nullptr, RouteReplay* routes = nullptr,
                   const Observer& observer = {});

  // Generation: appends tokens to the cache and returns logits [vocab] (f32) after the last of them.
  std::shared_ptr<LatentCache> new_cache(int64_t max_tokens) const;
  std::vector<float> extend(LatentCache& cache, std::span<const int32_t> tokens);

  // Auxiliary-loss-free balancing (§2.4): bias_i += gamma * sign(mean load - load_i), once per step from global counts.
  void update_selection_bias(const std::vector<std::vector<int64_t>>& global_load, double gamma);

  PartTimes take_part_times();  // since the last call
  static int64_t estimate_bytes(const ModelConfig& config, const ModelOptions& options, int64_t micro_batch_tokens,
                                int64_t sequence_length);  // weights, gradients, activations; no optimizer state

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal
