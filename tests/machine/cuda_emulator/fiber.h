// A fiber: a computation with a stack of its own that its resumer lets run until it suspends itself or ends. The
// threads of an emulated block are fibers of one thread of the system.
//
// A fiber is begun and resumed by the same thread always, and used again after its body ended. Both sanitizers are told
// of every switch.
#pragma once
#include <cstddef>

namespace hadal::emulator {

class Fiber {
 public:
  using Body = void (*)(void* context);  // may throw nothing

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void begin(Body body, void* context);  // what the next resume() starts
  void resume();                         // until the body suspends itself or returns
  bool ended() const { return ended_; }
  bool started() const { return started_; }
  static void suspend();  // by a body: back to whoever resumed it

 private:
  static void enter();
  void leave();

  void* stack_pointer_ = nullptr;
  char* stack_ = nullptr;
  Body body_ = nullptr;
  void* context_ = nullptr;
  bool ended_ = true, started_ = false;
  void* sanitizer_ = nullptr;  // its fiber (thread sanitizer), or its fake stack (address sanitizer)
};

}  // namespace hadal::emulator
