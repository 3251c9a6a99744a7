// Work on a stream of items with all threads, and what comes of it taken in the stream's order, so that nothing depends
// on how many threads there are. While one batch is worked on, the next is read.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "base/thread_pool.h"

namespace hadal::data {

constexpr int64_t kBytesAtOnce = 4 << 20;  // of the texts that are in memory at once there are two batches

struct NothingMore {
  void operator()() const {}
};

// read(item) gives false at the end, item.bytes() is its size; work(item) runs in any order and on any thread, beside
// read(); take(item) in order, never beside either of them, and behind the last of a batch after_batch().
template <class Item, class Read, class Work, class Take, class AfterBatch = NothingMore>
void in_batches(ThreadPool* pool, Read read, Work work, Take take, AfterBatch after_batch = {}) {
  bool more = true;
  const auto read_batch = [&] {
    std::vector<Item> batch;
    for (int64_t bytes = 0; bytes < kBytesAtOnce && more;) {
      Item item;
      more = read(item);
      if (!more) break;
      bytes += item.bytes() + int64_t(sizeof(Item));
      batch.push_back(std::move(item));
    }
    return batch;
  };
  std::vector<Item> next = read_batch();
  while (!next.empty()) {
    std::vector<Item> batch = std::move(next);
    const auto task = [&](int64_t i, int) {
      if (i == 0) {
        next = read_batch();
      } else {
        work(batch[size_t(i - 1)]);
      }
    };
    const int64_t n_tasks = int64_t(batch.size()) + 1;
    if (pool != nullptr) {
      pool->parallel_for(n_tasks, task);
    } else {
      for (int64_t i = 0; i < n_tasks; ++i) task(i, 0);
    }
    for (Item& item : batch) take(item);
    after_batch();
  }
}

}  // namespace hadal::data
