// How the vector kernels cut attention into tasks, and the workspace that these take from the lane. A function of the
// shapes, the instruction set and the number of threads; only the cut depends on the threads, never a result. The
// source is ordinary code, built once (room.cmake).
#pragma once
#include "kernels/attention.h"

namespace hadal::kernels {

// A unit of work that no other task shares sums with: rows first_row .. first_row+n_rows of one segment and heads
// head .. head+n_heads. Row r is query r / n_heads of head head + r % n_heads (backward: all queries, one head after
// another). `times` so often, for the n_heads heads after these and so on (forward: attention_is_direct).
struct AttentionTask {
  int64_t segment = 0, head = 0, n_heads = 1, first_row = 0, n_rows = 0, times = 1;
  double cost = 0;
};

class AttentionPlan {
 public:
  AttentionPlan(const Attention& args, Isa isa);
  AttentionPlan(const AttentionBackward& args, Isa isa);
  ~AttentionPlan();

  const AttentionTask* tasks = nullptr;  // most expensive first
  int64_t n_tasks = 0;
  char* workers = nullptr;  // worker_bytes of packed tiles per thread
  int64_t worker_bytes = 0;
  // Backward: [head groups, all keys of all segments, shared columns]. Forward together: scores of a task.
  float* partials = nullptr;
  bool together = false;  // forward: threads share every task (attention_forward.cpp)

 private:
  struct Needs {
    int64_t n_tasks = 0, worker_bytes = 0, partial_bytes = 0;
    bool together = false;
  };
  AttentionPlan(Lane& lane, const Needs& needs);
  static Needs forward_needs(const Attention& a, Isa isa);
  static Needs backward_needs(const Attention& a, Isa isa);
  void sort(AttentionTask* begin);

  Workspace space_;
};

}  // namespace hadal::kernels
