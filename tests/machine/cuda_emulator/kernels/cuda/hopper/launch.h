// The thin layer, host side, emulated: a launch checks its parameters and queues a grid of fibers.
//
// Pointers among the parameters, and words inside structs, are untagged for the kernel; one that is an address of the
// host is refused, and so is memory that is released before the kernel runs.
#pragma once
#include <cstring>
#include <string>
#include <tuple>
#include <type_traits>

#include "cuda_emulator/block.h"
#include "cuda_emulator/device.h"
#include "kernels/cuda/hopper/launch_shape.h"
#include "kernels/cuda/hopper/runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

namespace hadal::kernels::cuda {

// The parameter as the kernel sees it; number: of the one before it.
template <class T>
T as_in_kernel(T value, const std::string& kernel, int& number) {
  const auto& device = emulator::Device::get();
  const std::string what = "kernel '" + kernel + "', parameter " + std::to_string(++number);
  if constexpr (std::is_pointer_v<T>) {
    if (value != nullptr) value = reinterpret_cast<T>(device.address(value, 0, what));
  } else if constexpr (std::is_class_v<T> && alignof(T) >= 8) {  // else it has no room for a pointer
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0);
    uint64_t words[sizeof(T) / 8];
    std::memcpy(words, &value, sizeof(T));
    for (uint64_t& word : words) {
      if (emulator::Device::is_tagged(word) || emulator::Device::is_host_address(word))
        word = reinterpret_cast<uint64_t>(device.address(reinterpret_cast<void*>(word), 0, what));
    }
    std::memcpy(static_cast<void*>(&value), words, sizeof(T));
  } else {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 8);
  }
  return value;
}

template <class... Params>
std::tuple<Params...> all_as_in_kernel(const std::string& kernel, const std::tuple<Params...>& params) {
  return std::apply(
      [&](const Params&... param) {
        int number = -1;
        return std::tuple<Params...>{as_in_kernel(param, kernel, number)...};  // braces: from left to right
      },
      params);
}

template <class... Params>
void launch(void (*kernel)(Params...), const Launch& how, typename SameType<Params>::type... params) {
  static_assert((sizeof(Params) + ... + 0) <= 4096, "a kernel takes at most 4 KiB of parameters");
  if (how.blocks == 0) return;
  check_launch(how);
  const std::string name = how.name;
  const std::tuple<Params...> given(params...);
  all_as_in_kernel(name, given);  // refuses at once
  auto& device = emulator::Device::get();
  auto run = [kernel, how, name, given, seed = device.seed(), shuffled = device.shuffled()] {
    const auto seen = all_as_in_kernel(name, given);
    emulator::run_grid({.kernel = name.c_str(),
                        .blocks = how.blocks,
                        .threads = how.threads,
                        .shared_bytes = how.shared_bytes,
                        .seed = seed,
                        .shuffled = shuffled},
                       [&] { std::apply(kernel, seen); });
  };
  device.give(static_cast<emulator::Stream*>(how.stream.handle), {.what = "kernel '" + name + "'", .run = run});
  check_cuda(device.take_last_error(), how.name);  // as the launch on a device
}

}  // namespace hadal::kernels::cuda
