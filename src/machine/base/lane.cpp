#include "base/lane.h"

#include <algorithm>

namespace hadal {

Lane::Lane(int n_threads, std::shared_ptr<MemoryPool> memory, int n_pools)
    : pool_(n_threads, n_pools), memory_(std::move(memory)) {}
Lane::~Lane() = default;

ThreadPool& Lane::pool() { return pool_; }
int Lane::n_threads() const { return pool_.n_threads(); }

// The smallest free block that holds the bytes; else the largest free one makes room for a larger; else one more.
char* Lane::lend(int64_t bytes, size_t& block_index) {
  std::lock_guard lock(mutex_);
  size_t fits = blocks_.size(), largest = fits;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    if (block.lent) continue;
    if (block.bytes >= bytes && (fits == blocks_.size() || block.bytes < blocks_[fits].bytes)) fits = i;
    if (largest == blocks_.size() || block.bytes > blocks_[largest].bytes) largest = i;
  }
  if (fits == blocks_.size()) {
    if (largest == blocks_.size()) blocks_.emplace_back();
    fits = largest;
    Block& block = blocks_[fits];
    const int64_t grown = std::min(kKept, block.bytes + block.bytes / 4);  // sizes that creep up cost few allocations
    block = Block();
    block.memory = memory_->allocate(size_t(std::max(bytes, grown)));
    block.bytes = std::max(bytes, grown);
  }
  blocks_[fits].lent = true;
  block_index = fits;
  return static_cast<char*>(blocks_[fits].memory.get());
}

void Lane::take_back(size_t block) {
  std::lock_guard lock(mutex_);
  blocks_[block].lent = false;
  if (blocks_[block].bytes > kKept) blocks_[block] = Block();
}

Workspace::Workspace(Lane& lane, int64_t bytes) : lane_(lane) { data = lane.lend(bytes, block_); }
Workspace::~Workspace() { lane_.take_back(block_); }

}  // namespace hadal
