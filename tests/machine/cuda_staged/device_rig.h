// The device that a program is linked with, emulated or not, opened as a verb opens it: tensors lie in its memory, and
// the kernels are its own.
#pragma once
#include "base/open_device.h"
#include "cuda_staged/staged.h"
#include "kernels/devices.h"

namespace hadal::staged {

// Whether whole steps and runs are for this program: under the thread sanitizer, where a thread of the emulated device
// costs a hundred times as much, the tests of ops stand for them.
inline bool runs_whole_steps() {
#if defined(__SANITIZE_THREAD__)
  return false;
#else
  return device_is_there();
#endif
}

inline std::shared_ptr<OpenDevice> open_device(int index = 0) {
  return std::make_shared<OpenDevice>(Device{DeviceKind::cuda, index}, *kernels::cuda_backend()->driver);
}

// seed: of its schedules, where they can be chosen. most: bytes of its memory, 0: all.
struct DeviceRig {
  explicit DeviceRig(uint64_t seed, int64_t most = 0)
      : device((begin_schedule(seed), open_device())),
        owned(2, device, *kernels::cuda_backend()->kernels, most),
        exec(owned.exec) {}
  std::shared_ptr<OpenDevice> device;
  OwnedExec owned;
  const Exec& exec;
};

}  // namespace hadal::staged
