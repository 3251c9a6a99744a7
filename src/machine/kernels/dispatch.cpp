#include "kernels/dispatch.h"

#include "base/error.h"

namespace hadal::kernels {

void no_kernel(const char* kernel, Device device) {
  fail(ErrorKind::unsupported, "there is no kernel '{}' for the device {}; this build has those of the CPU", kernel,
       device_name(device));
}

}  // namespace hadal::kernels
