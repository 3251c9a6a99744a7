// What the emulator tells the thread sanitizer: the order that barriers, shuffles and asynchronous work make between
// fibers. Files that include this are compiled without the sanitizer.
#pragma once
#include <cstddef>

#if defined(HADAL_EMULATOR_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
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

// While it lives the sanitizer overlooks what the emulator does with memory of its own: containers that fibers share.
class Unseen {
 public:
#if defined(HADAL_EMULATOR_TSAN)
  Unseen() { AnnotateIgnoreReadsBegin("", 0), AnnotateIgnoreWritesBegin("", 0); }
  ~Unseen() { AnnotateIgnoreWritesEnd("", 0), AnnotateIgnoreReadsEnd("", 0); }
#else
  Unseen() {}
  ~Unseen() {}
#endif
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;
};

// As std::memcpy, which the sanitizer would see.
inline void copy_unseen(void* to, const void* from, size_t bytes) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

}  // namespace hadal::emulator
