#include "cuda_emulator/fiber.h"

#include <sys/mman.h>

#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(HADAL_EMULATOR_TSAN)  // this file itself is compiled without the sanitizer
#include <sanitizer/tsan_interface.h>
#endif

// Saves what a function must give back to its caller on the old stack, and takes it from the new one.
extern "C" void hadal_emulator_switch(void** old_stack_pointer, void* new_stack_pointer);
asm(R"(
.text
.globl hadal_emulator_switch
.type hadal_emulator_switch,@function
hadal_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size hadal_emulator_switch,.-hadal_emulator_switch
)");

namespace hadal::emulator {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(HADAL_EMULATOR_TSAN)
constexpr size_t kStack = 256 << 10;
#else
constexpr size_t kStack = 64 << 10;
#endif
constexpr size_t kPage = 4096;  // below a stack, unreadable: what overflows it ends there

// Of the thread of the system: who runs, and the way back to its resumer.
thread_local Fiber* running = nullptr;
thread_local void* resumer_stack_pointer = nullptr;
#if defined(__SANITIZE_ADDRESS__)
thread_local void* resumer_fake_stack = nullptr;
thread_local const void* resumer_stack = nullptr;
thread_local size_t resumer_stack_bytes = 0;
#endif
#if defined(HADAL_EMULATOR_TSAN)
thread_local void* resumer_fiber = nullptr;
constexpr unsigned kNoSynchronisation = 1;  // a switch orders nothing: fibers race like threads
#endif

}  // namespace

Fiber::Fiber() {
  void* memory = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<char*>(memory);
  mprotect(stack_, kPage, PROT_NONE);
  // Stacks begin at different places of their pages, so that they do not all fall into the same sets of the caches.
  thread_local unsigned colour = 0;
  auto** top = reinterpret_cast<void**>(stack_ + kStack - 64 - colour++ % 29 * 128);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Fiber::enter);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  stack_pointer_ = top;
#if defined(HADAL_EMULATOR_TSAN)
  sanitizer_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#if defined(HADAL_EMULATOR_TSAN)
  __tsan_destroy_fiber(sanitizer_);
#endif
  munmap(stack_, kStack);
}

void Fiber::begin(Body body, void* context) {
  body_ = body, context_ = context;
  ended_ = started_ = false;
}

void Fiber::resume() {
  running = this;
  started_ = true;
#if defined(HADAL_EMULATOR_TSAN)
  resumer_fiber = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(sanitizer_, kNoSynchronisation);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&resumer_fake_stack, stack_, kStack);
#endif
  hadal_emulator_switch(&resumer_stack_pointer, stack_pointer_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(resumer_fake_stack, nullptr, nullptr);
#endif
}

void Fiber::leave() {
#if defined(HADAL_EMULATOR_TSAN)
  __tsan_switch_to_fiber(resumer_fiber, kNoSynchronisation);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&sanitizer_, resumer_stack, resumer_stack_bytes);
#endif
  hadal_emulator_switch(&stack_pointer_, resumer_stack_pointer);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(sanitizer_, &resumer_stack, &resumer_stack_bytes);
#endif
}

void Fiber::suspend() { running->leave(); }

// Where a new stack begins. It never returns: a body that ended makes room for the next.
void Fiber::enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &resumer_stack, &resumer_stack_bytes);
#endif
  for (;;) {
    running->body_(running->context_);
    running->ended_ = true;
    running->leave();
  }
}

}  // namespace hadal::emulator
