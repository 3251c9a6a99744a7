// Trace: what a model computes on the way, layer by layer, and where two such records part. For people who port models.
// A trace file is safetensors: "tokens" [T] (I32) and the names of Observer (model/transformer.h).
#pragma once
#include <span>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "storage/safetensors.h"

namespace hadal {

// In the order of computing, "tokens" first; floating tensors as f32 (f64 of a model in fp64).
std::vector<NamedTensor> trace_model(const Exec& exec, const Transformer& model, std::span<const int32_t> tokens);

struct TraceDifference {
  std::string name;
  double relative = 0;     // ||ours - theirs|| / ||theirs||; of experts: the share of rows with another choice
  double largest = 0;      // |ours - theirs| of one element
  int64_t first_row = -1;  // first token whose row differs by more than the tolerance, -1: none
};

// Of every name that both have, in our order. A row differs when ||difference|| > tolerance * ||theirs||, experts when
// the sets differ (their order does not matter; weights follow their experts). Throws invalid when the other trace is
// of other tokens, of another shape, or shares no name.
std::vector<TraceDifference> compare_traces(const std::vector<NamedTensor>& ours, const SafetensorsReader& theirs,
                                            double tolerance);

}  // namespace hadal
