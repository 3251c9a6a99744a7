// The kinds of devices beside the CPU that this program can use. One folder gives the answer: cuda/ where it is built
// with CUDA, no_cuda/ where it is not; tests link an emulated device instead.
#pragma once
#include "kernels/device_kernels.h"

namespace hadal::kernels {

struct DeviceBackend {
  const DeviceDriver* driver = nullptr;
  const DeviceKernels* kernels = nullptr;
};

const DeviceBackend* cuda_backend();  // null: this program was built without

}  // namespace hadal::kernels
