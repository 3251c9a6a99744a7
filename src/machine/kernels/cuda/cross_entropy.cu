// Cross-entropy in place, a warp per row. FP32 rows that get a gradient keep the exponentials of the sum, as on the
// CPU. The loss goes through a logarithm of its own (numbers.h): it may differ from the CPU's in the last bit.
#include "kernels/cross_entropy.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

template <class X>
__device__ void gradient_of_row(X* x, int64_t vocab, int64_t target, float top, float chosen, float sum, float scale) {
  constexpr bool kKept = sizeof(X) == sizeof(float);
  const float of_target = (exponential(chosen - top) / sum - 1.0f) * scale, factor = scale / sum;
  each_column(vocab, [&](int64_t c) {
    const float e = kKept ? value_of(x[c]) : exponential(value_of(x[c]) - top);
    put(x + c, c == target ? of_target : e * factor);
  });
}

template <class X>
__global__ void __launch_bounds__(kBlock, 4) loss_rows(Lines<X> logits, const int32_t* targets, float* losses,
                                                       int64_t rows, int64_t vocab, float scale, bool gradient) {
  const int64_t r = row_of_warp();
  if (r >= rows) return;
  X* x = logits.row(r);
  const int64_t target = targets[r];
  if (target < 0) {
    if (lane_index() == 0) losses[r] = 0;
    if (gradient) each_column(vocab, [&](int64_t c) { put(x + c, 0.0f); });
    return;
  }
  const float chosen = value_of(x[target]), top = largest_in_row(x, vocab);
  warp_barrier();  // all have read the target's logit
  const bool keep = gradient && sizeof(X) == sizeof(float);
  const float sum = sum_row(vocab, [&](float a, int64_t c) {
    const float e = exponential(value_of(x[c]) - top);
    if (keep) put(x + c, e);
    return a + e;
  });
  if (lane_index() == 0) losses[r] = top - chosen + logarithm(sum);
  warp_barrier();  // exponentials are read by other lanes than wrote them
  if (gradient) gradient_of_row(x, vocab, target, top, chosen, sum, scale);
}

}  // namespace

void cross_entropy(DeviceStream stream, const CrossEntropy& k) {
  visit(
      "cross_entropy",
      [&](auto x) {
        using X = element<decltype(x)>;
        launch(loss_rows<X>, over_rows("cross_entropy", k.rows, stream), lines<X>(k.logits), k.targets,
               static_cast<float*>(k.loss), k.rows, k.vocab, float(k.scale), k.gradient);
      },
      k.logits.dtype);
}

}  // namespace hadal::kernels::cuda
