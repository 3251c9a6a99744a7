// From the global batch of the loader to the micro-batches of the model.
#pragma once
#include <cstdint>
#include <vector>

#include "data/batch.h"
#include "nn/micro_batch.h"

namespace hadal {

// Appends one sequence: rows, positions (restarting per passage when masked), targets, attention bounds.
void append_sequence(MicroBatch& batch, const data::Sequence& sequence, bool masked);

// Cut into micro-batches of this many sequences, in order; the last may be smaller.
std::vector<MicroBatch> micro_batches(const data::Batch& batch, int64_t sequences_each);

// Targets of the whole global batch: [0] main loss, [k] MTP depth k. The denominators of the losses' means.
std::vector<int64_t> count_targets(const std::vector<MicroBatch>& batches, int64_t n_mtp);
// The same with every target counted as its weight.
std::vector<double> weigh_targets(const std::vector<MicroBatch>& batches, int64_t n_mtp);

// The main loss's by domain: how many, and counted as their weights. Empty where the batches tell no domains.
struct DomainTargets {
  int64_t count = 0;
  double weight = 0;
};
std::vector<DomainTargets> targets_by_domain(const std::vector<MicroBatch>& batches);

}  // namespace hadal
