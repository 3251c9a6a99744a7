// What the emulator tells the thread sanitizer: the order that barriers, shuffles and asynchronous work make between
// fibers. Files that include this are compiled without the sanitizer.
#pragma once
#include <cstddef>

#if defined(HADAL_EMULATOR_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace hadal::emulator {

inline void happens_before([[maybe_unused]] void* what) {
#if defined(HADAL_EMULATOR_TSAN)
  __tsan_release(what);
#endif
}
inline void happens_after([[maybe_unused]] void* what) {
#if defined(HADAL_EMULATOR_TSAN)
  __tsan_acquire(what);
#endif
}

// As std::memcpy, which the sanitizer would see.
inline void copy_unseen(void* to, const void* from, size_t bytes) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

}  // namespace hadal::emulator
