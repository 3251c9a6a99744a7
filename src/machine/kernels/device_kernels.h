// The table of a device's kernels: one entry per kernel, null where the device has none. A program holds the table of
// each device that it can use and hands it on in its Exec; so the choice of a twin needs no linker's help, and a build
// without CUDA has no trace of it.
// An entry takes the same arguments as the twins of the CPU, with pointers to the device's memory; it queues work on
// the stream and returns. Lanes in the arguments say nothing there.
#pragma once
#include "base/exec.h"

// Every kernel of the house with the type of its arguments: those that run where tensors lie, and those of the host.
#define HADAL_EACH_DEVICE_KERNEL(X)                  \
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
  X(shift, Shift)                                    \
  X(softmax_gradient, SoftmaxGradient)               \
  X(softmax_statistics, SoftmaxStatistics)           \
  X(sum_of_squares, SumOfSquares)                    \
  X(swiglu, Swiglu)                                  \
  X(swiglu_backward, SwigluBackward)                 \
  X(swiglu_weighted_backward, SwigluWeighted)        \
  X(zero_rows, ZeroRows)
#define HADAL_EACH_KERNEL(X)   \
  HADAL_EACH_DEVICE_KERNEL(X)  \
  X(e5m6_decode, E5m6Tiles)    \
  X(e5m6_encode, E5m6Tiles)    \
  X(integer_gemm, IntegerGemm) \
  X(integer_rows, IntegerRows) \
  X(rope_table, RopeTable)     \
  X(tensor_core_gemm, TensorCoreGemm)

namespace hadal::kernels {

#define HADAL_NAME_ARGUMENTS(name, Args) struct Args;
HADAL_EACH_KERNEL(HADAL_NAME_ARGUMENTS)
#undef HADAL_NAME_ARGUMENTS

struct DeviceKernels {
#define HADAL_DEVICE_ENTRY(name, Args) void (*name)(DeviceStream stream, const Args& args) = nullptr;
  HADAL_EACH_KERNEL(HADAL_DEVICE_ENTRY)
#undef HADAL_DEVICE_ENTRY
};

}  // namespace hadal::kernels
