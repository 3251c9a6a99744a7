// The balance loss, a block per sequence: counts of choices (integers, in any order), then means and the loss by one
// warp in the order of the tokens, then the gradient by all warps.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/routing_keys.h"
#include "kernels/routing.h"

namespace hadal::kernels::cuda {
namespace {

struct Sequences {
  const int64_t *begins, *counts, *lengths;
  int64_t n_experts, top_k;
};

__global__ void __launch_bounds__(kBlock) count_choices(Lines<float> scores, Sequences k, int64_t* all_chosen) {
  const int64_t q = block_index(), begin = k.begins[q], end = begin + k.counts[q];
  int64_t* chosen = all_chosen + q * k.n_experts;
  for (int64_t e = thread_index(); e < k.n_experts; e += kBlock) chosen[e] = 0;
  block_barrier();
  for (int64_t t = begin + warp_index(); t < end; t += kRowsPerBlock) {
    const float* row = scores.row(t);
    int64_t last = kAboveAllKeys;
    for (int64_t s = 0; s < k.top_k; ++s) {
      last = next_key(k.n_experts, last, [&](int64_t e) { return key_of(row[e], e); });
      if (lane_index() == 0) atomic_add(&chosen[index_of(last)], 1);
    }
  }
}

struct Losses {
  const int64_t* chosen;
  double *workspace, *losses;
  double alpha;
};

__device__ float sum_of(const float* row, int64_t n) {
  return sum_row(n, [&](float a, int64_t e) { return a + row[e]; });
}

// f_e and P_e, summed over tokens in order; then the loss, over experts in order.
__device__ void loss_of_sequence(const Lines<float>& scores, const Sequences& k, const Losses& l, int64_t q) {
  const int64_t begin = k.begins[q], count = k.counts[q], length = k.lengths[q];
  double *f = l.workspace + q * 2 * k.n_experts, *mean = f + k.n_experts;
  each_column(k.n_experts, [&](int64_t e) { f[e] = double(l.chosen[q * k.n_experts + e]), mean[e] = 0; });
  for (int64_t t = begin; t < begin + count; ++t) {
    const float* row = scores.row(t);
    const float inverse = 1.0f / sum_of(row, k.n_experts);
    each_column(k.n_experts, [&](int64_t e) { mean[e] += double(row[e] * inverse); });
  }
  if (count > 0) each_column(k.n_experts, [&](int64_t e) { f[e] *= double(k.n_experts) / double(k.top_k * length); });
  warp_barrier();
  if (lane_index() != 0) return;
  double loss = 0;
  for (int64_t e = 0; count > 0 && e < k.n_experts; ++e) loss += l.alpha * f[e] * mean[e] / double(length);
  l.losses[q] = loss;
}

__global__ void __launch_bounds__(kBlock)
    balance_sequences(Lines<float> scores, Lines<float> dscores, Sequences k, Losses l) {
  const int64_t q = block_index();
  if (warp_index() == 0) loss_of_sequence(scores, k, l, q);
  block_barrier();
  if (!dscores.data) return;
  const double* f = l.workspace + q * 2 * k.n_experts;
  const int64_t begin = k.begins[q], end = begin + k.counts[q];
  for (int64_t t = begin + warp_index(); t < end; t += kRowsPerBlock) {
    const float* row = scores.row(t);
    float* d = dscores.row(t);
    const float total = sum_of(row, k.n_experts);
    const float pull = sum_row(k.n_experts, [&](float a, int64_t e) { return fused(float(f[e]), row[e], a); });
    const float factor = float(l.alpha / double(k.lengths[q])) / total, shift = pull / total;
    each_column(k.n_experts, [&](int64_t e) { d[e] = factor * (float(f[e]) - shift); });
  }
}

}  // namespace

void balance_counts(DeviceStream stream, const BalanceCounts& k) {
  launch(count_choices, {.name = "balance_counts", .blocks = k.n_sequences, .stream = stream}, lines<float>(k.scores),
         {k.begins, k.counts, nullptr, k.n_experts, k.top_k}, k.chosen);
}

void balance_loss(DeviceStream stream, const BalanceLoss& k) {
  launch(balance_sequences, {.name = "balance_loss", .blocks = k.n_sequences, .stream = stream}, lines<float>(k.scores),
         lines<float>(k.dscores), {k.begins, k.counts, k.lengths, k.n_experts, k.top_k},
         {k.chosen, k.workspace, k.losses, k.alpha});
}

}  // namespace hadal::kernels::cuda
