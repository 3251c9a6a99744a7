// The thin layer, host side: memory of a device, its streams and events. One header with two implementations: the CUDA
// runtime (runtime.cu) and the emulated device (tests/machine/cuda_emulator/runtime.cpp).
//
// Whatever takes a stream is queued there and runs later, in the order of the stream; work of two streams is ordered by
// events alone. Host memory that is copied from or to must stay until the stream was waited for; device memory may be
// released only when nothing that uses it is under way. What fails on the device throws Error(internal) where the
// stream is waited for.
#pragma once
#include <cstdint>

#include "base/exec.h"

namespace hadal::kernels::cuda {

struct DeviceEvent {
  void* handle = nullptr;
};

int device_count();  // 0 without a driver or a card

void* allocate(int64_t bytes);  // 256-byte aligned, uninitialised; throws out_of_memory
void release(void* memory);     // null: nothing
void copy_to_device(void* to, const void* from, int64_t bytes, DeviceStream stream);
void copy_to_host(void* to, const void* from, int64_t bytes, DeviceStream stream);
void fill_bytes(void* to, uint8_t value, int64_t bytes, DeviceStream stream);

DeviceStream make_stream();
void close_stream(DeviceStream stream);  // waits for it
void wait_for(DeviceStream stream);      // until all that it was given has run
DeviceEvent make_event();
void close_event(DeviceEvent event);
void record(DeviceEvent event, DeviceStream stream);    // fires when the stream gets there
void wait_for(DeviceEvent event, DeviceStream stream);  // what the stream is given from now on runs after it

// Throws, naming the kernel or call, unless the status is cudaSuccess.
void check_cuda(int status, const char* what);

}  // namespace hadal::kernels::cuda
