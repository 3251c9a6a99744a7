#include "cuda_emulator/guarded.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace hadal::emulator {
namespace {

constexpr int64_t round_up(int64_t bytes, int64_t unit) { return (bytes + unit - 1) / unit * unit; }

void forbid([[maybe_unused]] const void* from, [[maybe_unused]] int64_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(from, size_t(bytes));
#endif
}
void allow([[maybe_unused]] const void* from, [[maybe_unused]] int64_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(from, size_t(bytes));
#endif
}

}  // namespace

Guarded::Guarded(int64_t bytes, int64_t alignment) : bytes_(bytes), front_(round_up(kGuard, alignment)) {
  const int64_t whole = round_up(front_ + bytes + kGuard, alignment);
  block_ = static_cast<uint8_t*>(std::aligned_alloc(size_t(alignment), size_t(whole)));
  if (block_ == nullptr) throw std::bad_alloc();
  data_ = block_ + front_;
  std::memset(block_, kUntouched, size_t(front_));
  std::memset(data_, kFresh, size_t(bytes));
  std::memset(data_ + bytes, kUntouched, size_t(kGuard));
  forbid(block_, front_);
  forbid(data_ + bytes, kGuard);
}

Guarded::~Guarded() {
  allow(block_, front_);
  allow(data_ + bytes_, kGuard);
  std::free(block_);
}

#if !defined(__SANITIZE_ADDRESS__)
namespace {
// Looked at after every work on the device, for all of its memory: whole stretches at once.
bool whole_guard(const uint8_t* from) {
  static const std::array<uint8_t, Guarded::kGuard> kWhole = [] {
    std::array<uint8_t, Guarded::kGuard> bytes;
    bytes.fill(Guarded::kUntouched);
    return bytes;
  }();
  return std::memcmp(from, kWhole.data(), kWhole.size()) == 0;
}
}  // namespace
#endif

std::optional<int64_t> Guarded::touched() const {
  std::optional<int64_t> found;
#if !defined(__SANITIZE_ADDRESS__)  // which lets nobody touch them, nor look
  if (whole_guard(data_ - kGuard) && whole_guard(data_ + bytes_)) return found;
  for (int64_t i = kGuard; i > 0; --i) {
    for (const int64_t at : {-i, bytes_ + i - 1}) {
      if (data_[at] == kUntouched) continue;
      if (!found || at >= bytes_) found = at;
      data_[at] = kUntouched;
    }
  }
#endif
  return found;
}

}  // namespace hadal::emulator
