// How the products of a list share out their tasks.
#pragma once
#include <cstdint>

#include "base/lane.h"

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

// The tasks of a list of products, as Cut divides them: row_blocks(product) times col_blocks(product) each.
template <class Args, class Cut>
struct ProductJob {
  const Args& args;
  Cut cut;
  int64_t* first_task;  // of every product, and the end
  char* workers;        // of each worker so many bytes
};
template <class Args, class Cut>
static int64_t count_tasks(const Args& args, const Cut& cut) {
  int64_t tasks = 0;
  for (int64_t i = 0; i < args.n_products; ++i)
    tasks += cut.row_blocks(args.products[i]) * cut.col_blocks(args.products[i]);
  return tasks;
}
// The tasks worth having: so many per thread, none with less than `worth` multiply-adds. B comes from memory no faster
// than `rows_of_reading` rows are multiplied with it.
template <class Args>
static int64_t wanted_tasks(const Args& args, int64_t per_thread, int64_t worth, int64_t rows_of_reading) {
  int64_t work = 0;
  for (int64_t i = 0; i < args.n_products; ++i) {
    const auto& p = args.products[i];
    work += (p.m > rows_of_reading ? p.m : rows_of_reading) * p.n * p.k;
  }
  return least(per_thread * args.lane->n_threads(), work / worth);
}
// Halves the longer side of the largest block until there are so many, or blocks are small.
template <class Args, class Cut>
static void cut_finer(const Args& args, Cut& cut, int64_t wanted) {
  while (count_tasks(args, cut) < wanted && (cut.max_rows > 96 || cut.max_cols > 64)) {
    if (cut.max_rows > 96 && (cut.max_rows > cut.max_cols || cut.max_cols <= 64)) {
      cut.max_rows /= 2;
    } else {
      cut.max_cols /= 2;
    }
  }
}
// Runs them all: run_task(the job, task, worker).
template <class Args, class Cut>
static void run_products(const Args& args, const Cut& cut, int64_t worker_bytes,
                         void (*run_task)(void*, int64_t, int)) {
  const int64_t workers = args.lane->n_threads() * worker_bytes;
  const Workspace space(*args.lane, workers + 8 * (args.n_products + 1));
  ProductJob<Args, Cut> job{args, cut, reinterpret_cast<int64_t*>(space.data + workers), space.data};
  int64_t tasks = 0;
  for (int64_t i = 0; i < args.n_products; ++i) {
    job.first_task[i] = tasks;
    tasks += cut.row_blocks(args.products[i]) * cut.col_blocks(args.products[i]);
  }
  job.first_task[args.n_products] = tasks;
  args.lane->pool().run(tasks, run_task, &job);
}

// The task that is handed out as the i-th where every thread walks through a stretch of its own: what it asks memory
// for behind the end of one task is then where its next one begins.
static inline int64_t task_in_stretches(int64_t i, int64_t n_tasks, int64_t n_threads) {
  const int64_t stretch = n_tasks / n_threads, longer = n_tasks % n_threads, number = i % n_threads;
  return number * stretch + least(number, longer) + i / n_threads;
}

}  // namespace hadal::kernels::HADAL_ISA
