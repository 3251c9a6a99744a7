// See interrupt.h. The handler touches lock-free atomics and write(), which are safe in a signal.
#include "base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "base/error.h"

namespace hadal {
namespace {

// Signals are per process: the one place where this state can live.
std::atomic<int> requests{0};
std::atomic<const char*> promised{nullptr};  // what the CleanStop in force says; none: nobody polls
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<const char*>::is_always_lock_free);

extern "C" void on_signal(int number) {
  const char* promise = promised.load();
  if (promise == nullptr || requests.fetch_add(1) > 0) {
    signal(number, SIG_DFL);
    raise(number);  // takes effect when this handler returns; whoever waits for the program learns which signal it was
    return;
  }
  for (const char* text : {"\nhadal: ", promise, "; once more to leave at once\n"})
    if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
  struct sigaction before {};
  sigaction(SIGHUP, nullptr, &before);
  if (before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // under nohup it stays ignored
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() { return requests.load(std::memory_order_relaxed) > 0; }
void stop_if_interrupted(const char* what_now) { check(!interrupted(), ErrorKind::io, "interrupted; {}", what_now); }
void request_interrupt() { requests.store(1); }
void clear_interrupt() { requests.store(0); }

CleanStop::CleanStop(const char* promise) : before_(promised.exchange(promise)) {}
CleanStop::~CleanStop() { promised.store(before_); }

}  // namespace hadal
