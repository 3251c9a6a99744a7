// Padding was never there: a sequence is as long as its tokens.
#include "train/micro_batches.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {

namespace {

void append_segment(MicroBatch& batch, int64_t begin, int64_t length) {
  if (length == 0) return;
  batch.segments.push_back({begin, length, begin, length});
  for (int64_t i = 0; i < length; ++i) batch.positions.push_back(int32_t(i));
}

int64_t valid_targets(const MicroBatch& batch) {
  return std::count_if(batch.targets.begin(), batch.targets.end(), [](int32_t target) { return target >= 0; });
}

}  // namespace

void append_sequence(MicroBatch& batch, const data::Sequence& sequence, bool masked) {
  const int64_t begin = batch.n_tokens(), length = int64_t(sequence.tokens.size());
  if (length == 0) return;
  check(sequence.targets.size() == sequence.tokens.size(), ErrorKind::internal,
        "a sequence of {} tokens has {} targets", length, sequence.targets.size());
  batch.tokens.insert(batch.tokens.end(), sequence.tokens.begin(), sequence.tokens.end());
  batch.targets.insert(batch.targets.end(), sequence.targets.begin(), sequence.targets.end());
  if (!sequence.weights.empty()) batch.weights.resize(size_t(begin), 1.0f);
  batch.weights.insert(batch.weights.end(), sequence.weights.begin(), sequence.weights.end());
  if (!batch.weights.empty()) batch.weights.resize(size_t(begin + length), 1.0f);
  batch.domains.insert(batch.domains.end(), sequence.domains.begin(), sequence.domains.end());
  batch.sequences.push_back({begin, length});
  if (!masked) {
    append_segment(batch, begin, length);
  } else {
    for (const auto& passage : sequence.passages) append_segment(batch, begin + passage.start, passage.length);
  }
}

std::vector<MicroBatch> micro_batches(const data::Batch& batch, int64_t sequences_each) {
  std::vector<MicroBatch> result;
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    if (int64_t(i) % sequences_each == 0) result.emplace_back();
    append_sequence(result.back(), batch.sequences[i], batch.masked);
  }
  return result;
}

std::vector<int64_t> count_targets(const std::vector<MicroBatch>& batches, int64_t n_mtp) {
  std::vector<int64_t> counts(n_mtp + 1, 0);
  for (const auto& batch : batches) {
    counts[0] += valid_targets(batch);
    for (int64_t depth = 1; depth <= n_mtp; ++depth) counts[depth] += valid_targets(mtp_rows(batch, depth).batch);
  }
  return counts;
}

std::vector<double> weigh_targets(const std::vector<MicroBatch>& batches, int64_t n_mtp) {
  std::vector<double> sums(size_t(n_mtp + 1), 0.0);
  const auto add = [](const MicroBatch& batch, double& sum) {
    for (size_t i = 0; i < batch.targets.size(); ++i)
      if (batch.targets[i] >= 0) sum += batch.weights.empty() ? 1.0 : double(batch.weights[i]);
  };
  for (const auto& batch : batches) {
    add(batch, sums[0]);
    for (int64_t depth = 1; depth <= n_mtp; ++depth) add(mtp_rows(batch, depth).batch, sums[size_t(depth)]);
  }
  return sums;
}

std::vector<DomainTargets> targets_by_domain(const std::vector<MicroBatch>& batches) {
  std::vector<DomainTargets> found;
  for (const MicroBatch& batch : batches) {
    for (size_t i = 0; i < batch.domains.size(); ++i) {
      const size_t domain = size_t(batch.domains[i]);
      if (found.size() <= domain) found.resize(domain + 1);
      if (batch.targets[i] < 0) continue;
      ++found[domain].count;
      found[domain].weight += batch.weights.empty() ? 1.0 : double(batch.weights[i]);
    }
  }
  return found;
}

}  // namespace hadal
