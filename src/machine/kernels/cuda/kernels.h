// The device's twins of the kernels, one .cu per kernel header, and their table. Each queues its work on the stream;
// pointers in the arguments are the device's, but for lists that only describe work (products of a gemm).
// FP32 results have the bits of the vector kernels on AVX2, except where a header here says otherwise.
#pragma once
#include "kernels/device_kernels.h"

namespace hadal::kernels::cuda {

#define HADAL_DECLARE_TWIN(name, Args) void name(DeviceStream stream, const Args& args);
HADAL_EACH_DEVICE_KERNEL(HADAL_DECLARE_TWIN)
#undef HADAL_DECLARE_TWIN

const DeviceKernels& table();

}  // namespace hadal::kernels::cuda
