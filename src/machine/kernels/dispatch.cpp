#include "kernels/dispatch.h"

#include "base/error.h"
#include "kernels/array.h"

namespace hadal::kernels {

void no_kernel(const char* kernel, Device device) {
  fail(ErrorKind::unsupported, "there is no kernel '{}' for the device {}; this build has those of the CPU", kernel,
       device_name(device));
}

void mixed_halves() { fail(ErrorKind::internal, "a kernel was given BF16 together with F16"); }

}  // namespace hadal::kernels
