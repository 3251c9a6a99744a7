// Losses: what a micro-batch's losses are weighted with, what comes out of its forward, and who may look on or replay
// its routes. Everything is keyed by layer, nothing by the order in which a schedule runs things.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/exact_sum.h"
#include "tensor/tensor.h"

namespace hadal {

// Weights of the loss terms, so that a micro-batch adds its exact share of the global batch's means.
struct LossWeights {
  double main = 0;          // 1 / valid targets of the global batch
  std::vector<double> mtp;  // per depth: lambda / (D * valid targets of that depth in the global batch)
  double balance = 0;       // alpha / sequences of the global batch
};

// A router met numbers that are not finite. They flow on (ops/routing.h); the step decides once, from the sums.
struct RoutingFault {
  int64_t layer = -1;        // first layer with a fault, -1: none
  int64_t token = -1;        // its first token whose logits are not a number, -1: the selection bias is at fault
  double first_logit = 0;    // of that token
  int64_t bias_expert = -1;  // first expert whose bias is not finite
  explicit operator bool() const { return layer >= 0; }
  std::string text() const;
};

// Sums over the micro-batch (not yet divided), so that accumulation is exact. merge() adds. Where ranks share a
// micro-batch, each reports of its own rows alone: their losses and targets, the experts that they visit, their part of
// the balance loss (whose counts are those of whole sequences), the first fault among them. So the merged sums of all
// ranks of a job are those of one.
struct LossSums {
  double main = 0;  // sum of -log p over valid targets
  int64_t main_count = 0;
  // `main` by the domains that the micro-batches tell (MicroBatch::domains), rounded nowhere: the same for any order
  // and any layout, and their sum is the whole. Empty: none tells any.
  std::vector<ExactSum> domains;
  std::vector<double> mtp;
  std::vector<int64_t> mtp_count;
  double balance = 0;                             // already weighted
  std::vector<std::vector<int64_t>> expert_load;  // [MoE layer ascending, MTP's last][expert] tokens
  RoutingFault fault;                             // the first of the micro-batches merged
  double total(const LossWeights& weights) const;
  void merge(const LossSums& other);
  void check_routed() const;  // throws NotFinite when a router met numbers that are not finite
};

// Experts [T * k] of every MoE layer, ascending; filled when recording, read when replaying. T are all rows of the
// micro-batch: a rank that shares it reads those of its own, and records -1 for the others'.
struct RouteReplay {
  bool replay = false;
  std::vector<std::vector<int32_t>> experts;
};

// Called with what a forward computes, in this order: "embedding"; of every layer "layers.N.moe.experts" [T, k] (i32,
// ascending), "layers.N.moe.weights" [T, k] and "layers.N.output" [T, hidden], the residual stream after it (MTP
// modules follow as layers n_layers ..., on fewer rows); "final_norm". Tensors are views, good until it returns.
using Observer = std::function<void(const std::string& name, const Tensor& value)>;

// Adds an expert_load to another, which grows where it has fewer layers or experts.
void add_load(std::vector<std::vector<int64_t>>& load, const std::vector<std::vector<int64_t>>& other);

}  // namespace hadal
