// The thin layer, host side: memory of a device, its streams and events. One header with two implementations: the CUDA
// runtime (runtime.cu) and the emulated device (tests/machine/cuda_emulator/runtime.cpp).
//
// Whatever takes a stream is queued there and runs later, in the order of the stream; work of two streams is ordered by
// events alone. Host memory that is copied from or to must stay until the stream was waited for; device memory may be
// released only when nothing that uses it is under way. What fails on the device throws Error(internal) where the
// stream is waited for.
#pragma once
#include <cstdint>
#include <string>

#include "base/device.h"

namespace hadal::kernels::cuda {

// Of this machine. Throws unsupported, with what is wrong and would be right, where there is none: no driver, one that
// is too old, no card.
int device_count();
bool device_is_there();  // the same question, without the answer why not
// Throws unsupported for a card that the kernels are not compiled for.
DeviceInfo device_info(int index);
void use_device(int index);  // by this thread

void* allocate(int64_t bytes);  // 256-byte aligned, uninitialised; throws out_of_memory
void release(void* memory);     // null: nothing
void* allocate_pinned(int64_t bytes);
void release_pinned(void* memory);
void copy_to_device(void* to, const void* from, int64_t bytes, DeviceStream stream);
void copy_to_host(void* to, const void* from, int64_t bytes, DeviceStream stream);
void copy_on_device(void* to, const void* from, int64_t bytes, DeviceStream stream);
void fill_bytes(void* to, uint8_t value, int64_t bytes, DeviceStream stream);

DeviceStream make_stream();
void close_stream(DeviceStream stream);  // waits for it
void wait_for(DeviceStream stream);      // until all that it was given has run
DeviceEvent make_event();
void close_event(DeviceEvent event);
void record(DeviceEvent event, DeviceStream stream);       // fires when the stream gets there
void wait_for_event(DeviceEvent event);                    // the host, until it has fired
void order_after(DeviceEvent event, DeviceStream stream);  // what the stream is given from now on runs after it

// Throws, naming the kernel or call, unless the status is cudaSuccess.
void check_cuda(int status, const char* what);

}  // namespace hadal::kernels::cuda
