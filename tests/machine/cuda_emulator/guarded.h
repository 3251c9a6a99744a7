// Memory of an exact size between two guards: bytes that nobody may touch. The address sanitizer reports whoever reads
// or writes there; without it, what was written shows afterwards.
#pragma once
#include <cstdint>
#include <optional>

namespace hadal::emulator {

class Guarded {
 public:
  static constexpr int64_t kGuard = 256;   // bytes on both sides
  static constexpr uint8_t kFresh = 0xff;  // what memory holds at first: NaN in every format, -1 as an integer
  static constexpr uint8_t kUntouched = 0xa5;

  Guarded(int64_t bytes, int64_t alignment);  // throws bad_alloc
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // Offset from data() of a byte outside that has changed, negative before it; the guards are put right again.
  std::optional<int64_t> touched() const;

 private:
  uint8_t* block_ = nullptr;
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0, front_ = 0;
};

}  // namespace hadal::emulator
