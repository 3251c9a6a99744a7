// Lane: where the work of an Exec runs, one operation after another: on the CPU a thread pool and the workspace of what
// runs on it (on another device a stream). One thread at a time gives work to a lane; two lanes work side by side.
//
// Workspace: memory that an operation needs only while it runs. A lane keeps what it lent before and lends it again, so
// that an operation costs no allocation; what it keeps only grows, but for blocks past kKept, which go back to the
// memory pool, where tensors may use them. Operations inside a task of the lane's pool take theirs at the same time as
// their neighbours.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/memory.h"
#include "base/thread_pool.h"

namespace hadal {

class Lane {
 public:
  static constexpr int64_t kKept = int64_t(16) << 20;  // bytes

  // n_threads and n_pools as a ThreadPool takes them. Workspace comes from `memory` and is counted there.
  Lane(int n_threads, std::shared_ptr<MemoryPool> memory, int n_pools = 1);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  ThreadPool& pool();
  const std::shared_ptr<MemoryPool>& memory() const { return memory_; }
  int n_threads() const;
  template <class Task>
  void parallel_for(int64_t n_tasks, Task&& task) {
    pool_.parallel_for(n_tasks, task);
  }

 private:
  friend class Workspace;
  struct Block {
    std::shared_ptr<void> memory;
    int64_t bytes = 0;
    bool lent = false;
  };
  char* lend(int64_t bytes, size_t& block);
  void take_back(size_t block);

  ThreadPool pool_;
  std::shared_ptr<MemoryPool> memory_;
  std::mutex mutex_;
  std::vector<Block> blocks_;
};

// `bytes` of a lane's workspace, uninitialised and 64-byte aligned, until this goes out of scope.
class Workspace {
 public:
  Workspace(Lane& lane, int64_t bytes);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  char* data = nullptr;  // no function: vector kernels may emit none that other objects share (kernels/dispatch.h)

 private:
  Lane& lane_;
  size_t block_ = 0;
};

}  // namespace hadal
