#include "base/exec.h"

#include <fmt/format.h>

namespace hadal {

std::string device_name(Device device) {
  return device.kind == DeviceKind::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

OwnedExec::OwnedExec(int n_threads, Isa isa) : OwnedExec(n_threads, isa, MemoryPool::create()) {}

OwnedExec::OwnedExec(int n_threads, Isa isa, std::shared_ptr<MemoryPool> memory)
    : compute(std::make_unique<Lane>(n_threads, memory)),
      traffic(std::make_unique<Lane>(1, memory)),
      exec{.compute = compute.get(), .traffic = traffic.get(), .memory = memory, .isa = isa} {}

}  // namespace hadal
