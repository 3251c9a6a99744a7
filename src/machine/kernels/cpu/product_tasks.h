// How the products of a list share out their tasks.
#pragma once
#include <cstdint>

namespace hadal::kernels::HADAL_ISA {

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The product that a task belongs to; first_task: of every product, ascending.
static inline int64_t product_of(int64_t task, const int64_t* first_task, int64_t n_products) {
  int64_t low = 0, high = n_products;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (first_task[middle] <= task ? low : high) = middle;
  }
  return low;
}

// The task that is handed out as the i-th where every thread walks through a stretch of its own: what it asks memory
// for behind the end of one task is then where its next one begins.
static inline int64_t task_in_stretches(int64_t i, int64_t n_tasks, int64_t n_threads) {
  const int64_t stretch = n_tasks / n_threads, longer = n_tasks % n_threads, number = i % n_threads;
  return number * stretch + least(number, longer) + i / n_threads;
}

}  // namespace hadal::kernels::HADAL_ISA
