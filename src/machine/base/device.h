// Device: what computes beside the CPU, and how the house drives it: memory, streams of work, copies. A kind of device
// is a table of functions that a build with it fills (kernels/devices.h); a build without has none.
#pragma once
#include <cstdint>
#include <string>

namespace hadal {

enum class DeviceKind : uint8_t { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};
std::string device_name(Device device);     // "cpu", "cuda:1"
Device parse_device(const std::string& s);  // of that name; throws invalid for others

// Where a device runs work in the order in which it was given; a handle of whoever drives the device.
struct DeviceStream {
  void* handle = nullptr;
};
struct DeviceEvent {
  void* handle = nullptr;
};

// What a device says of itself.
struct DeviceInfo {
  std::string name;                         // "NVIDIA H100 80GB HBM3"
  std::string driver;                       // of which version, "13.0"
  int64_t free_bytes = 0, total_bytes = 0;  // of its memory, now, whoever uses the rest
};

// Work on a stream runs later, in the order of the stream; work of two streams is ordered by events alone. Host memory
// that is copied from or to must stay until the stream was waited for; device memory may be released only when nothing
// that uses it is under way. What fails on the device throws Error(internal) where the stream is waited for.
struct DeviceDriver {
  int (*count)();                    // of devices; throws unsupported, with what would be right, where there is none
  DeviceInfo (*info)(int index);     // throws unsupported for a device that this program does not run on
  void (*use)(int index);            // by this thread, from now on
  void* (*allocate)(int64_t bytes);  // 256-byte aligned, uninitialised; throws out_of_memory
  void (*release)(void* memory);
  void* (*allocate_pinned)(int64_t bytes);  // host memory that copies read and write while the program goes on
  void (*release_pinned)(void* memory);
  void (*copy_to_device)(void* to, const void* from, int64_t bytes, DeviceStream stream);
  void (*copy_to_host)(void* to, const void* from, int64_t bytes, DeviceStream stream);
  void (*copy_on_device)(void* to, const void* from, int64_t bytes, DeviceStream stream);
  void (*fill_bytes)(void* to, uint8_t value, int64_t bytes, DeviceStream stream);
  DeviceStream (*make_stream)();
  void (*close_stream)(DeviceStream stream);  // waits for it
  void (*wait_for_stream)(DeviceStream stream);
  DeviceEvent (*make_event)();
  void (*close_event)(DeviceEvent event);
  void (*record)(DeviceEvent event, DeviceStream stream);       // fires when the stream gets there
  void (*wait_for_event)(DeviceEvent event);                    // the host waits until it has fired
  void (*order_after)(DeviceEvent event, DeviceStream stream);  // what the stream is given from now on
};

}  // namespace hadal
