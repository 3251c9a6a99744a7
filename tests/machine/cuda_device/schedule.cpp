// A GPU as tests of kernels see it: its schedules are its own.
#include "cuda_staged/staged.h"
#include "kernels/cuda/hopper/runtime.h"

namespace hadal::staged {

bool device_is_there() { return kernels::cuda::device_is_there(); }
const char* device_title() { return "the GPU"; }
void begin_schedule(uint64_t) {}
std::optional<int64_t> synchronisations() { return std::nullopt; }

}  // namespace hadal::staged
