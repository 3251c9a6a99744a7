// The thin layer, host side: memory of a device, its streams and events. One header with two implementations: the CUDA
// runtime (runtime.cu) and the emulated device (tests/machine/cuda_emulator/runtime.cpp).
//
// Whatever takes a stream is queued there and runs later, in the order of the stream; work of two streams is ordered by
// events alone. Host memory that is copied from or to must stay until the stream was waited for; device memory may be
// released only when nothing that uses it is under way. What fails on the device throws Error(internal) where the
// stream is waited for. A copy to or from host memory that is not pinned makes the host wait for the stream.
#pragma once
#include <cstdint>
#include <string>

#include "base/device.h"

namespace hadal::kernels::cuda {

// What the runtime says of a call (cudaError_t): success, and what we know to explain.
inline constexpr int kFine = 0, kNoMemory = 2, kDriverTooOld = 35, kNoCard = 100;
std::string status_text(int status);  // "out of memory (cudaErrorMemoryAllocation)"
// What the last call that failed has left behind, for whoever asks next; forgets it, unless the device itself is lost.
int take_last_error();

int count_cards(int& count);  // of this machine; returns a status
int driver_version();         // 13000 for 13.0; 0: there is no driver
struct Card {
  std::string name;
  int major = 0, minor = 0;                 // compute capability
  int64_t free_bytes = 0, total_bytes = 0;  // of its memory, now; known where the kernels run on it
};
inline bool runs_on(const Card& card) { return card.major == 9 && card.minor == 0; }  // sm_90a, as it is compiled
Card card_of(int index);
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

// An event that knows when it fired, and the seconds between two of them that have.
DeviceEvent make_timed_event();
double seconds_between(DeviceEvent begin, DeviceEvent end);

// The rest is made of these, the same for both (devices.cu).

// Throws, naming the kernel or call, unless the status is kFine. The error is forgotten then: the next launch asks for
// the last one, and would be taken for its cause.
void check_cuda(int status, const char* what);
// Of this machine. Throws unsupported, with what is wrong and would be right, where there is none: no driver, one that
// is too old, no card.
int device_count();
bool device_is_there();  // the same question, without the answer why not
// Throws unsupported for a card that the kernels are not compiled for.
DeviceInfo device_info(int index);

}  // namespace hadal::kernels::cuda
