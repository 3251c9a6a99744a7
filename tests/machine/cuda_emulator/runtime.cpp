// Memory, streams and events of the emulated device, as kernels/cuda/hopper/runtime.h declares them.
#include "kernels/cuda/hopper/runtime.h"

#include <cstring>
#include <new>

#include "base/error.h"
#include "cuda_emulator/device.h"

namespace hadal::kernels::cuda {
namespace {

using emulator::Device;
using emulator::Event;
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

}  // namespace

void check_cuda(int status, const char* what) {
  check(status == 0, ErrorKind::internal, "{}: status {}", what, status);
}

int device_count() { return 1; }
bool device_is_there() { return true; }
void use_device(int index) {
  check(index == 0, ErrorKind::invalid, "device {} is chosen; the emulated machine has device 0 alone", index);
}
DeviceInfo device_info(int index) {
  use_device(index);
  const int64_t total = Device::kMemory;
  return {"the emulated device", "none", total - Device::get().bytes(), total};
}

void* allocate(int64_t bytes) { return Device::get().allocate(bytes); }
void release(void* memory) { Device::get().release(memory); }

void* allocate_pinned(int64_t bytes) { return ::operator new(size_t(bytes)); }
void release_pinned(void* memory) { ::operator delete(memory); }

void copy_to_device(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  const char* what = "copy to the device";
  check_host(from, bytes, what);
  Device::get().address(to, bytes, what);
  give(stream, what, [=] {
    if (bytes > 0) std::memcpy(Device::get().address(to, bytes, what), from, size_t(bytes));
  });
}

void copy_to_host(void* to, const void* from, int64_t bytes, DeviceStream stream) {
  const char* what = "copy to the host";
  check_host(to, bytes, what);
  Device::get().address(from, bytes, what);
  give(stream, what, [=] {
    if (bytes > 0) std::memcpy(to, Device::get().address(from, bytes, what), size_t(bytes));
  });
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
void close_event(DeviceEvent event) { Device::get().close(event_of(event)); }

void record(DeviceEvent event, DeviceStream stream) {
  Device::get().give(stream_of(stream), {.what = "recording an event", .event = event_of(event), .records = true});
}

void wait_for_event(DeviceEvent event) { Device::get().wait_for(event_of(event)); }

void order_after(DeviceEvent event, DeviceStream stream) {
  Device::get().give(stream_of(stream), {.what = "waiting for an event", .event = event_of(event)});
}

}  // namespace hadal::kernels::cuda
