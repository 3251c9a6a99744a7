// The thin layer, host side: launching a kernel on a stream. tests/machine/cuda_emulator holds the second
// implementation, as of simt.h.
//
// A kernel takes pointers to device memory, numbers, and structs of both without padding (so that the emulated device
// finds every pointer). What is launched runs later, at the latest when its stream is waited for; a launch that the
// device refuses throws here, named.
#pragma once
#include <cuda_runtime.h>

#include "kernels/cuda/hopper/launch_shape.h"
#include "kernels/cuda/hopper/runtime.h"

namespace hadal::kernels::cuda {

template <class... Params>
void launch(void (*kernel)(Params...), const Launch& how, typename SameType<Params>::type... params) {
  if (how.blocks == 0) return;
  check_launch(how);
  if (how.shared_bytes > kSharedWithoutAsking) {
    check_cuda(int(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, int(how.shared_bytes))),
               how.name);
  }
  void* values[] = {static_cast<void*>(&params)...};
  const cudaError_t status =
      cudaLaunchKernel(reinterpret_cast<const void*>(kernel), dim3(unsigned(how.blocks)), dim3(unsigned(how.threads)),
                       values, size_t(how.shared_bytes), static_cast<cudaStream_t>(how.stream.handle));
  check_cuda(int(status), how.name);
  check_cuda(int(cudaGetLastError()), how.name);
}

}  // namespace hadal::kernels::cuda
