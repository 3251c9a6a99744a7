// How a kernel is launched, and what no launch may ask for.
#pragma once
#include <cstdint>

#include "base/error.h"
#include "base/exec.h"

namespace hadal::kernels::cuda {

inline constexpr int kBlock = 256;                         // threads of a block where nothing asks for another number
inline constexpr int64_t kSharedWithoutAsking = 48 << 10;  // bytes of shared memory a launch gets without an attribute
inline constexpr int64_t kSharedLimit = 232448;            // and with it

struct Launch {
  const char* name = "";  // for messages
  int64_t blocks = 1;     // 0: nothing to do
  int threads = kBlock;   // of a block, whole warps
  int64_t shared_bytes = 0;
  DeviceStream stream;
};

// The type of an argument that takes no part in deducing the kernel's.
template <class T>
struct SameType {
  using type = T;
};

inline void check_launch(const Launch& how) {
  check(how.stream.handle != nullptr, ErrorKind::internal, "kernel '{}': no stream", how.name);
  check(how.blocks > 0 && how.blocks < (int64_t(1) << 31), ErrorKind::invalid,
        "kernel '{}': {} blocks, expected 1 to 2^31 - 1", how.name, how.blocks);
  check(how.threads > 0 && how.threads <= 1024 && how.threads % 32 == 0, ErrorKind::invalid,
        "kernel '{}': blocks of {} threads, expected whole warps up to 1024", how.name, how.threads);
  check(how.shared_bytes >= 0 && how.shared_bytes <= kSharedLimit, ErrorKind::invalid,
        "kernel '{}': {} bytes of shared memory, a block has at most {}", how.name, how.shared_bytes, kSharedLimit);
}

}  // namespace hadal::kernels::cuda
