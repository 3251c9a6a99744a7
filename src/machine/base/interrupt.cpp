// See interrupt.h. The handler touches one lock-free atomic and write(), both safe in a signal.
#include "base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace hadal {
namespace {

std::atomic<int> requests{0};  // signals are per process: the one place where this state can live
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void on_signal(int) {
  if (requests.fetch_add(1) > 0) _exit(130);
  const char text[] = "\nhadal: stopping after the current step; once more to leave at once\n";
  if (::write(STDERR_FILENO, text, sizeof text - 1) < 0) return;
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() { return requests.load(std::memory_order_relaxed) > 0; }
void request_interrupt() { requests.store(1); }
void clear_interrupt() { requests.store(0); }

}  // namespace hadal
