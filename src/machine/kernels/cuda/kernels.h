// The device's twins of the kernels, one .cu per kernel header, and their table. Each queues its work on the stream;
// pointers in the arguments are the device's, but for lists that only describe work (products of a gemm).
// FP32 results have the bits of the vector kernels on AVX2, except where a header here says otherwise.
#pragma once
#include "kernels/device_kernels.h"

// Every kernel that has a twin so far, in the order of the table.
#define HADAL_EACH_CUDA_KERNEL(X)                    \
  X(adamw, AdamW)                                    \
  X(add_rows, AddRows)                               \
  X(all_finite, AllFinite)                           \
  X(attention_backward, AttentionBackward)           \
  X(attention_forward, Attention)                    \
  X(balance_counts, BalanceCounts)                   \
  X(balance_loss, BalanceLoss)                       \
  X(combine, Combine)                                \
  X(convert, Convert)                                \
  X(cross_entropy, CrossEntropy)                     \
  X(fp8_decode, Fp8Tiles)                            \
  X(fp8_encode, Fp8Tiles)                            \
  X(gather_backward, GatherBackward)                 \
  X(gather_rows, GatherRows)                         \
  X(gemm, Gemm)                                      \
  X(group_sums, GroupSums)                           \
  X(group_totals, GroupTotals)                       \
  X(plan_rows, PlanRows)                             \
  X(rms_norm, RmsNorm)                               \
  X(rms_norm_backward_input, RmsNormBackwardInput)   \
  X(rms_norm_backward_weight, RmsNormBackwardWeight) \
  X(rope, Rope)                                      \
  X(route, Route)                                    \
  X(route_backward, RouteBackward)                   \
  X(scale_rows, ScaleRows)                           \
  X(scaled_gemm, ScaledGemm)                         \
  X(scatter_add_rows, ScatterAddRows)                \
  X(softmax_gradient, SoftmaxGradient)               \
  X(softmax_statistics, SoftmaxStatistics)           \
  X(sum_of_squares, SumOfSquares)                    \
  X(swiglu, Swiglu)                                  \
  X(swiglu_backward, SwigluBackward)                 \
  X(swiglu_weighted_backward, SwigluWeighted)        \
  X(zero_rows, ZeroRows)

namespace hadal::kernels::cuda {

#define HADAL_DECLARE_TWIN(name, Args) void name(DeviceStream stream, const Args& args);
HADAL_EACH_CUDA_KERNEL(HADAL_DECLARE_TWIN)
#undef HADAL_DECLARE_TWIN

const DeviceKernels& table();

}  // namespace hadal::kernels::cuda
