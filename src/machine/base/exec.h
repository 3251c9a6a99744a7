// Exec: where a computation runs, passed to every op, layer and kernel with each call and never global. One set of
// weights may serve several: a trainer's and an engine's compute at once, each on its own lanes.
#pragma once
#include <memory>
#include <string>

#include "base/isa.h"
#include "base/lane.h"
#include "base/memory.h"

namespace hadal {

enum class DeviceKind : uint8_t { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};
std::string device_name(Device device);  // "cpu", "cuda:1"

// Where a device runs work in the order in which it was given; a handle of whoever drives the device.
struct DeviceStream {
  void* handle = nullptr;
};
namespace kernels {
struct DeviceKernels;  // the table of a device's kernels (kernels/device_kernels.h)
}

struct Exec {
  Device device;
  Lane* compute = nullptr;             // kernels
  Lane* traffic = nullptr;             // what moves data while kernels run: transfers, files
  std::shared_ptr<MemoryPool> memory;  // tensors
  Isa isa = Isa::reference;            // instruction set of every kernel; reference forces the readable formulas
  // Of a device other than the CPU: its kernels, and where they run.
  const kernels::DeviceKernels* kernels = nullptr;
  DeviceStream stream;
};

// An Exec with its own lanes and memory, for programs and tests. The traffic lane is one thread that mostly
// waits.
struct OwnedExec {
  explicit OwnedExec(int n_threads = 0, Isa isa = best_isa());
  std::unique_ptr<Lane> compute, traffic;
  Exec exec;

 private:
  OwnedExec(int n_threads, Isa isa, std::shared_ptr<MemoryPool> memory);
};

}  // namespace hadal
