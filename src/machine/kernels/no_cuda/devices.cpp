// A program that was built without CUDA.
#include "kernels/devices.h"

namespace hadal::kernels {

const DeviceBackend* cuda_backend() { return nullptr; }

}  // namespace hadal::kernels
