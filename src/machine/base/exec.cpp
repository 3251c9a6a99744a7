#include "base/exec.h"

#include <algorithm>

#include "base/open_device.h"

namespace hadal {

Exec Exec::on_host() const { return {.compute = compute, .traffic = traffic, .memory = compute->memory(), .isa = isa}; }

OwnedExec::OwnedExec(int n_threads, Isa isa, int n_pools) : OwnedExec(n_threads, isa, n_pools, MemoryPool::create()) {}

OwnedExec::OwnedExec(int n_threads, Isa isa, int n_pools, std::shared_ptr<MemoryPool> memory)
    : compute(std::make_unique<Lane>(n_threads, memory, n_pools)),
      traffic(std::make_unique<Lane>(1, memory)),
      exec{.compute = compute.get(), .traffic = traffic.get(), .memory = memory, .isa = isa} {}

OwnedExec place_of_rank(const Exec& exec, int n_ranks) {
  return OwnedExec(std::max(1, exec.compute->n_threads() / n_ranks), exec.isa, n_ranks);
}

OwnedExec::OwnedExec(int n_threads, std::shared_ptr<OpenDevice> device, const kernels::DeviceKernels& kernels,
                     int64_t most)
    : OwnedExec(n_threads, best_isa()) {
  exec.device = device->device();
  exec.kernels = &kernels;
  exec.stream = device->stream();
  exec.memory = device_memory(std::move(device), most);
}

}  // namespace hadal
