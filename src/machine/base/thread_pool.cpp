// The pool: one job at a time, identified by a generation number. A worker that finds a new generation joins the job,
// takes indexes from the shared counter until none is left, and leaves; the caller does the same and then waits until
// every worker that joined has left. A worker that never woke in time simply does not join: a core taken away delays
// nobody.
#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cgroup.h"
#include "base/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace hadal {
namespace {

inline void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// About 30 microseconds: longer than the gap between two kernels of a layer, shorter than a scheduler tick.
constexpr auto kSpin = std::chrono::microseconds(30);

template <class Condition>
bool spin_until(Condition&& condition) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (condition()) return true;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < end);
  return condition();
}

// The pool whose task this thread runs, and as which worker.
struct Place {
  const void* pool = nullptr;
  int worker = 0;
};
thread_local Place place;

class Inside {
 public:
  Inside(const void* pool, int worker) : before_(place) { place = {pool, worker}; }
  ~Inside() { place = before_; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  Place before_;
};

}  // namespace

struct ThreadPool::State {
  int n_threads = 1;
  bool spins = true;
  std::vector<std::thread> workers;
  std::mutex call_mutex;  // one parallel_for at a time

  // The job. Written by the caller while `open` is 0 and nobody is `inside`.
  Function function = nullptr;
  void* context = nullptr;
  int64_t n_tasks = 0;
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<uint64_t> generation{0};
  // Upper bit: the job may be joined. Lower bits: workers inside.
  alignas(64) std::atomic<uint32_t> gate{0};
  std::atomic<int> sleepers{0};
  std::atomic<bool> caller_sleeps{false};
  std::atomic<bool> failed{false};
  std::atomic<bool> stop{false};
  std::exception_ptr error;
  std::mutex mutex;
  std::condition_variable wake, done;

  static constexpr uint32_t kOpen = 0x80000000u;

  // Also when the pool's constructor fails half way: no worker may outlive what it waits on.
  ~State() {
    {
      std::lock_guard lock(mutex);
      stop.store(true);
    }
    wake.notify_all();
    for (auto& worker : workers) worker.join();
  }

  void work(int worker) {
    Inside inside(this, worker);
    for (;;) {
      const int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= n_tasks) break;
      if (failed.load(std::memory_order_relaxed)) continue;
      try {
        function(context, index, worker);
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
        failed.store(true, std::memory_order_relaxed);
      }
    }
  }

  bool join() {
    uint32_t seen = gate.load(std::memory_order_relaxed);
    while (seen & kOpen) {
      if (gate.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    }
    return false;
  }

  void leave() {
    if (gate.fetch_sub(1, std::memory_order_seq_cst) == 1 && caller_sleeps.load(std::memory_order_seq_cst)) {
      std::lock_guard lock(mutex);
      done.notify_one();
    }
  }

  void loop(int worker) {
    uint64_t seen = 0;
    for (;;) {
      auto fresh = [&] {
        return generation.load(std::memory_order_acquire) != seen || stop.load(std::memory_order_relaxed);
      };
      if (!seen_soon(fresh)) {
        std::unique_lock lock(mutex);
        sleepers.fetch_add(1, std::memory_order_seq_cst);
        wake.wait(lock, [&] { return generation.load(std::memory_order_seq_cst) != seen || stop.load(); });
        sleepers.fetch_sub(1, std::memory_order_relaxed);
      }
      if (stop.load()) return;
      seen = generation.load(std::memory_order_acquire);
      if (join()) {
        work(worker);
        leave();
      }
    }
  }

  template <class Condition>
  bool seen_soon(Condition&& condition) const {
    return spins ? spin_until(condition) : condition();
  }

  void run_serial(int64_t count, Function f, void* c, int worker) {
    for (int64_t i = 0; i < count; ++i) f(c, i, worker);
  }
};

ThreadPool::ThreadPool(int n_threads, int n_pools) : state_(std::make_unique<State>()) {
  check(n_threads >= 0 && n_threads <= 4096, ErrorKind::invalid,
        "thread count {} is not in 0..4096 (0 = all granted cores)", n_threads);
  const int granted = granted_threads();
  state_->n_threads = n_threads == 0 ? granted : n_threads;
  state_->spins = int64_t(state_->n_threads) * n_pools <= granted;
  state_->workers.reserve(size_t(state_->n_threads));
  for (int worker = 1; worker < state_->n_threads; ++worker) {
    try {
      state_->workers.emplace_back([state = state_.get(), worker] { state->loop(worker); });
    } catch (const std::system_error& error) {  // the caller is the first thread
      fail(ErrorKind::io,
           "cannot start thread {} of {}: {}; use fewer threads, or raise the limits on them and on memory", worker + 1,
           state_->n_threads, error.code().message());
    }
  }
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::n_threads() const { return state_->n_threads; }
bool ThreadPool::spins() const { return state_->spins; }

void ThreadPool::run(int64_t n_tasks, Function function, void* context) {
  State& s = *state_;
  if (n_tasks <= 0) return;
  if (place.pool == &s) return s.run_serial(n_tasks, function, context, place.worker);
  std::lock_guard one_call(s.call_mutex);
  if (n_tasks == 1 || s.n_threads == 1) {
    Inside inside(&s, 0);
    return s.run_serial(n_tasks, function, context, 0);
  }
  s.function = function;
  s.context = context;
  s.n_tasks = n_tasks;
  s.error = nullptr;
  s.failed.store(false, std::memory_order_relaxed);
  s.next.store(0, std::memory_order_relaxed);
  s.gate.store(State::kOpen, std::memory_order_release);
  s.generation.fetch_add(1, std::memory_order_seq_cst);
  if (s.sleepers.load(std::memory_order_seq_cst) > 0) {
    { std::lock_guard lock(s.mutex); }
    s.wake.notify_all();
  }
  s.work(0);
  s.gate.fetch_and(~State::kOpen, std::memory_order_seq_cst);
  auto empty = [&] { return s.gate.load(std::memory_order_seq_cst) == 0; };
  if (!s.seen_soon(empty)) {
    std::unique_lock lock(s.mutex);
    s.caller_sleeps.store(true, std::memory_order_seq_cst);
    s.done.wait(lock, empty);
    s.caller_sleeps.store(false, std::memory_order_relaxed);
  }
  if (s.error) std::rethrow_exception(std::exchange(s.error, nullptr));
}

int granted_threads() {
  int cores = int(std::max(1u, std::thread::hardware_concurrency()));
  // Masks of any size: the call refuses a buffer smaller than the kernel's.
  for (int size = 1024; size <= 1 << 18; size *= 2) {
    cpu_set_t* set = CPU_ALLOC(size);
    const size_t bytes = CPU_ALLOC_SIZE(size);
    const bool fine = sched_getaffinity(0, bytes, set) == 0;
    if (fine) cores = CPU_COUNT_S(bytes, set);
    CPU_FREE(set);
    if (fine) break;
  }
  // A quota of 1.5 cores feeds two threads; a hair above a whole number does not earn another.
  if (const double quota = cgroup_cpu_quota(); quota > 0)
    cores = std::min(cores, std::max(1, int(std::ceil(quota - 0.05))));
  return std::max(1, cores);
}

}  // namespace hadal
