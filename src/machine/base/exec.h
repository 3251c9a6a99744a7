// Exec: with what a computation runs. Passed to every kernel, op and layer, never global.
#pragma once
#include <memory>

#include "base/isa.h"
#include "base/memory.h"
#include "base/thread_pool.h"

namespace hadal {

struct Exec {
  ThreadPool* pool = nullptr;          // threads of this rank
  std::shared_ptr<MemoryPool> memory;  // tensors and workspaces
  Isa isa = Isa::reference;            // instruction set of every kernel; reference forces the readable formulas
};

// An Exec with its own pool and memory, for programs and tests.
struct OwnedExec {
  explicit OwnedExec(int n_threads = 0, Isa isa = best_isa())
      : pool(std::make_unique<ThreadPool>(n_threads)), exec{pool.get(), MemoryPool::create(), isa} {}
  std::unique_ptr<ThreadPool> pool;
  Exec exec;
};

}  // namespace hadal
