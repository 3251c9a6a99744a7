// The thread pool: workers that spin briefly, then sleep; at once where there are more threads than cores. Work is cut
// into tasks taken from one atomic counter, so a core that is taken away delays only the task it holds. Results never
// depend on the number of threads: tasks may not share sums.
#pragma once
#include <cstdint>
#include <memory>

namespace hadal {

class ThreadPool {
 public:
  // n_threads counts the caller; 0 means all that affinity and the cgroup quota grant. n_pools: so many of this size
  // work at once on these cores, those of the ranks.
  explicit ThreadPool(int n_threads = 0, int n_pools = 1);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const;
  // Whether who has nothing to do waits awake for moments: only where every thread has a core, which it would else take
  // from one that computes.
  bool spins() const;

  // Calls task(i, worker) for every i in [0, n_tasks), worker in [0, n_threads); returns when all are done. The first
  // exception is rethrown here. Calls from inside a task of this pool run serially in the caller. Not callable from two
  // threads at once (the second waits).
  template <class Task>
  void parallel_for(int64_t n_tasks, Task&& task) {
    run(
        n_tasks,
        [](void* context, int64_t index, int worker) {
          (*static_cast<std::remove_reference_t<Task>*>(context))(index, worker);
        },
        const_cast<void*>(static_cast<const void*>(&task)));
  }

  using Function = void (*)(void* context, int64_t index, int worker);
  void run(int64_t n_tasks, Function function, void* context);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

int granted_threads();  // cores granted by affinity mask and cgroup quota, at least 1

}  // namespace hadal
