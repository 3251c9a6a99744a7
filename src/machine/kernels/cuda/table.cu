// The table of the twins: what is not in it, the device does not have.
#include "kernels/cuda/kernels.h"

namespace hadal::kernels::cuda {

const DeviceKernels& table() {
  static const DeviceKernels all = {
#define HADAL_TWIN_ENTRY(name, Args) .name = &cuda::name,
      HADAL_EACH_DEVICE_KERNEL(HADAL_TWIN_ENTRY)
#undef HADAL_TWIN_ENTRY
  };
  return all;
}

}  // namespace hadal::kernels::cuda
