// The emulated device as tests of kernels see it.
#include "cuda_emulator/device.h"
#include "cuda_staged/staged.h"

namespace hadal::staged {

bool device_is_there() { return true; }
const char* device_title() { return "the emulated device"; }
void begin_schedule(uint64_t seed) { emulator::Device::get().begin(seed); }

std::optional<int64_t> synchronisations() { return emulator::Device::get().synchronisations(); }

}  // namespace hadal::staged
