// Cross-entropy over logits whose columns lie apart: statistics of a part, and its gradient; a warp per row.
#include "kernels/softmax_part.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"

namespace hadal::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kBlock) statistics_of_rows(Lines<float> logits, const int32_t* targets,
                                                             float* statistics, int64_t rows, int64_t cols, bool keep) {
  const int64_t r = row_of_warp();
  if (r >= rows) return;
  float* x = logits.row(r);
  const int64_t target = targets[r];
  const float chosen = target < 0 ? 0.0f : x[target], top = largest_in_row(x, cols);
  warp_barrier();  // all have read the target's logit
  const float sum = sum_row(cols, [&](float a, int64_t c) {
    const float e = exponential(x[c] - top);
    if (keep) x[c] = e;
    return a + e;
  });
  if (lane_index() != 0) return;
  float* to = statistics + 4 * r;
  to[0] = top, to[1] = sum, to[2] = chosen, to[3] = target < 0 ? 0.0f : 1.0f;
}

__global__ void __launch_bounds__(kBlock)
    gradient_elements(Lines<float> logits, const int32_t* targets, const float* factors, int64_t rows, int64_t cols) {
  each_element(rows, cols, [&](int64_t r, int64_t c) {
    const float factor = factors[2 * r];
    float* x = logits.row(r) + c;
    if (factor == 0) {
      *x = 0;
    } else {
      *x = c == targets[r] ? factors[2 * r + 1] : *x * factor;
    }
  });
}

void check_f32(const char* kernel, DType dtype) {
  check(dtype == DType::f32, ErrorKind::unsupported, "kernel '{}' takes F32 on a GPU, not {}", kernel,
        dtype_name(dtype));
}

}  // namespace

void softmax_statistics(DeviceStream stream, const SoftmaxStatistics& k) {
  check_f32("softmax_statistics", k.logits.dtype);
  launch(statistics_of_rows, over_rows("softmax_statistics", k.rows, stream), lines<float>(k.logits), k.targets,
         static_cast<float*>(k.statistics), k.rows, k.cols, k.keep);
}

void softmax_gradient(DeviceStream stream, const SoftmaxGradient& k) {
  check_f32("softmax_gradient", k.logits.dtype);
  launch(gradient_elements, over_elements("softmax_gradient", k.rows, k.cols, stream), lines<float>(k.logits),
         k.targets, static_cast<const float*>(k.factors), k.rows, k.cols);
}

}  // namespace hadal::kernels::cuda
