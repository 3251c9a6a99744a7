// Where the tests of models and steps run: on the CPU; compiled once more with HADAL_TESTS_ON_DEVICE, on the device
// that the program is linked with, emulated or not: the same laws by the same bodies.
#pragma once
#include "base/exec.h"
#include "config/enums.h"
#if defined(HADAL_TESTS_ON_DEVICE)
#include "cuda_staged/device_rig.h"
#endif

namespace hadal::testing {

#if defined(HADAL_TESTS_ON_DEVICE)
// Another number of threads is another schedule of the device.
struct TestPlace : staged::DeviceRig {
  explicit TestPlace(int threads, Isa = best_isa()) : DeviceRig(uint64_t(threads)) {}
};
inline constexpr bool kOnDevice = true;
inline constexpr Precision kFinest = Precision::fp32;  // that the place computes in
#else
using TestPlace = OwnedExec;
inline constexpr bool kOnDevice = false;
inline constexpr Precision kFinest = Precision::fp64;
#endif

// Laws are proven case by case; an emulated device takes every third case.
class Cases {
 public:
  bool left_out() { return kOnDevice && n_++ % 3 != 0; }

 private:
  int n_ = 0;
};

}  // namespace hadal::testing
