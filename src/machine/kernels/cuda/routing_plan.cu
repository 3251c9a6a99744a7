// The plan of a dispatch: a counting sort of (token, slot) pairs by expert, stable, in one block without atomics; each
// thread walks all pairs for its experts.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"
#include "kernels/routing.h"

namespace hadal::kernels::cuda {
namespace {

struct Pairs {
  const int32_t* experts;
  int32_t *offsets, *token, *pair, *position;
  int64_t n_rows, n_experts, top_k;
};

__global__ void __launch_bounds__(kBlock) plan_pairs(Pairs k) {
  for (int64_t e = thread_index(); e < k.n_experts; e += kBlock) {
    int32_t count = 0;
    for (int64_t i = 0; i < k.n_rows; ++i) count += k.experts[i] == e;
    k.offsets[e + 1] = count;
  }
  block_barrier();
  if (thread_index() == 0) {
    k.offsets[0] = 0;
    for (int64_t e = 0; e < k.n_experts; ++e) k.offsets[e + 1] += k.offsets[e];
  }
  block_barrier();
  for (int64_t e = thread_index(); e < k.n_experts; e += kBlock) {
    int32_t row = k.offsets[e];
    for (int64_t i = 0; i < k.n_rows; ++i) {
      if (k.experts[i] != e) continue;
      k.token[row] = int32_t(i / k.top_k), k.pair[row] = int32_t(i), k.position[i] = row;
      ++row;
    }
  }
}

}  // namespace

void plan_rows(DeviceStream stream, const PlanRows& k) {
  launch(plan_pairs, {.name = "plan_rows", .stream = stream},
         {k.experts, k.offsets, k.token, k.pair, k.position, k.n_rows, k.n_experts, k.top_k});
}

}  // namespace hadal::kernels::cuda
