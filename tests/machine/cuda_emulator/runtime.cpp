// Memory, streams and events of the emulated device, as kernels/cuda/hopper/runtime.h declares them.
#include "kernels/cuda/hopper/runtime.h"

#include <cstring>

#include "base/error.h"
#include "cuda_emulator/device.h"
#include "cuda_emulator/machine.h"

namespace hadal::kernels::cuda {
namespace {

using emulator::Device;
using emulator::Event;
using emulator::machine;
using emulator::Stream;

Stream* stream_of(DeviceStream stream) { return static_cast<Stream*>(stream.handle); }
Event* event_of(DeviceEvent event) { return static_cast<Event*>(event.handle); }

void give(DeviceStream stream, const char* what, std::function<void()> run) {
  Device::get().give(stream_of(stream), {.what = what, .run = std::move(run)});
}

// Tags cannot be told from the host's addresses by the compiler: each side of a copy is checked when it is given.
void check_host(const void* memory, int64_t bytes, const char* what) {
  check(bytes == 0 || !Device::is_tagged(reinterpret_cast<uint64_t>(memory)), ErrorKind::invalid,
        "{}: {} is device memory, expected the host's", what, memory);
}

// As on a device: the copy has run when the call returns.
void wait_unless_pinned(const void* host, int64_t bytes, DeviceStream stream) {
  if (bytes > 0 && !Device::get().is_pinned(host, bytes)) Device::get().wait_for(stream_of(stream));
}

}  // namespace

std::string status_text(int status) {
  switch (status) {
    case kNoMemory: return "out of memory (cudaErrorMemoryAllocation)";
    case kDriverTooOld:
      return "CUDA driver version is insufficient for CUDA runtime version (cudaErrorInsufficientDriver)";
    case kNoCard: return "no CUDA-capable device is detected (cudaErrorNoDevice)";
    default: return fmt::format("status {}", status);
  }
}

int take_last_error() { return Device::get().take_last_error(); }

int count_cards(int& count) {
  count = int(machine().cards.size());
  if (machine().driver < 13000) return kDriverTooOld;  // what CUDA says of none too
  return count > 0 ? kFine : kNoCard;
}

int driver_version() { return machine().driver; }

void use_device(int index) {
  check(index >= 0 && index < int(machine().cards.size()), ErrorKind::internal, "choosing a device: there is no {}",
        index);
}

Card card_of(int index) {
  use_device(index);
  const auto [major, minor] = machine().cards[size_t(index)];
  return {"the emulated device", major, minor, Device::get().free_bytes(), machine().memory};
}

void* allocate(int64_t bytes) {
  void* memory = Device::get().allocate(bytes);
  check_cuda(memory ? kFine : kNoMemory, "device memory");
  return memory;
}
void release(void* memory) { Device::get().release(memory); }

void* allocate_pinned(int64_t bytes) { return Device::get().allocate_pinned(bytes); }
void release_pinned(void* memory) { Device::get().release_pinned(memory); }

void copy_to_device(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  const char* what = "copy to the device";
  check_host(from, bytes, what);
  Device::get().address(to, bytes, what);
  Device::get().count_copy_to();
  give(stream, what, [=] {
    if (bytes > 0) std::memcpy(Device::get().address(to, bytes, what), from, size_t(bytes));
  });
  wait_unless_pinned(from, bytes, stream);
}

void copy_to_host(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  const char* what = "copy to the host";
  check_host(to, bytes, what);
  Device::get().address(from, bytes, what);
  give(stream, what, [=] {
    if (bytes > 0) std::memcpy(to, Device::get().address(from, bytes, what), size_t(bytes));
  });
  wait_unless_pinned(to, bytes, stream);
}

void copy_on_device(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  const char* what = "copy on the device";
  Device::get().address(to, bytes, what), Device::get().address(from, bytes, what);
  give(stream, what, [=] {
    if (bytes > 0)
      std::memcpy(Device::get().address(to, bytes, what), Device::get().address(from, bytes, what), size_t(bytes));
  });
}

void fill_bytes(void* to, uint8_t value, int64_t bytes, DeviceStream stream) {
  const char* what = "filling device memory";
  Device::get().address(to, bytes, what);
  give(stream, what, [=] {
    if (bytes > 0) std::memset(Device::get().address(to, bytes, what), value, size_t(bytes));
  });
}

DeviceStream make_stream() { return {Device::get().make_stream()}; }
void close_stream(DeviceStream stream) { Device::get().close(stream_of(stream)); }
void wait_for(DeviceStream stream) { Device::get().wait_for(stream_of(stream)); }
DeviceEvent make_event() { return {Device::get().make_event()}; }
DeviceEvent make_timed_event() { return make_event(); }
double seconds_between(DeviceEvent begin, DeviceEvent end) {
  return Device::get().seconds_of(event_of(end)) - Device::get().seconds_of(event_of(begin));
}
void close_event(DeviceEvent event) { Device::get().close(event_of(event)); }

void record(DeviceEvent event, DeviceStream stream) {
  Device::get().give(stream_of(stream), {.what = "recording an event", .event = event_of(event), .records = true});
}

void wait_for_event(DeviceEvent event) { Device::get().wait_for(event_of(event)); }

void order_after(DeviceEvent event, DeviceStream stream) {
  Device::get().give(stream_of(stream), {.what = "waiting for an event", .event = event_of(event)});
}

}  // namespace hadal::kernels::cuda
