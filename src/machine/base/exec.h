// Exec: where a computation runs, passed to every op, layer and kernel with each call and never global. One set of
// weights may serve several: a trainer's and an engine's compute at once, each on its own lanes.
#pragma once
#include <memory>

#include "base/device.h"
#include "base/isa.h"
#include "base/lane.h"
#include "base/memory.h"

namespace hadal {

namespace kernels {
struct DeviceKernels;  // the table of a device's kernels (kernels/device_kernels.h)
}
class ProductWatch;

struct Exec {
  Device device;
  Lane* compute = nullptr;             // kernels
  Lane* traffic = nullptr;             // what moves data while kernels run: transfers, files
  std::shared_ptr<MemoryPool> memory;  // tensors
  Isa isa = Isa::reference;            // instruction set of every kernel; reference forces the readable formulas
  // Of a device other than the CPU: its kernels, and where they run. Lanes and instruction set are the host's then.
  const kernels::DeviceKernels* kernels = nullptr;
  DeviceStream stream;
  ProductWatch* watch = nullptr;  // told of every product of a linear (nn/product_watch.h); null: nobody looks

  // The host's part of this place: the same lanes, tensors in the host's memory.
  Exec on_host() const;
};

// An Exec with its own lanes and memory, for programs and tests. The traffic lane is one thread that mostly
// waits.
struct OwnedExec {
  // n_pools: so many such places compute at once on these cores (ThreadPool).
  explicit OwnedExec(int n_threads = 0, Isa isa = best_isa(), int n_pools = 1);
  // Tensors and kernels on a device; most: bytes of its memory, 0: as many as there are.
  OwnedExec(int n_threads, std::shared_ptr<OpenDevice> device, const kernels::DeviceKernels& kernels, int64_t most = 0);
  std::unique_ptr<Lane> compute, traffic;
  Exec exec;

 private:
  OwnedExec(int n_threads, Isa isa, int n_pools, std::shared_ptr<MemoryPool> memory);
};

// For one of so many ranks that divide the threads of this place among themselves: one each at least.
OwnedExec place_of_rank(const Exec& exec, int n_ranks);

}  // namespace hadal
