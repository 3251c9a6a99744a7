#include "base/exec.h"

#include "base/open_device.h"

namespace hadal {

Exec Exec::on_host() const { return {.compute = compute, .traffic = traffic, .memory = compute->memory(), .isa = isa}; }

OwnedExec::OwnedExec(int n_threads, Isa isa) : OwnedExec(n_threads, isa, MemoryPool::create()) {}

OwnedExec::OwnedExec(int n_threads, Isa isa, std::shared_ptr<MemoryPool> memory)
    : compute(std::make_unique<Lane>(n_threads, memory)),
      traffic(std::make_unique<Lane>(1, memory)),
      exec{.compute = compute.get(), .traffic = traffic.get(), .memory = memory, .isa = isa} {}

OwnedExec::OwnedExec(int n_threads, std::shared_ptr<OpenDevice> device, const kernels::DeviceKernels& kernels,
                     int64_t most)
    : OwnedExec(n_threads, best_isa()) {
  exec.device = device->device();
  exec.kernels = &kernels;
  exec.stream = device->stream();
  exec.memory = device_memory(std::move(device), most);
}

}  // namespace hadal
