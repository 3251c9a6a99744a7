// The pool's state is shared by the pool and every block handed out, so a block may outlive its pool. Sizes are rounded
// up to classes eight to an octave (waste below 12.5 %; granules of 64 bytes, of 64 KiB for large blocks); blocks from
// 2 MiB on come from mmap, aligned to 2 MiB and marked for huge pages.
#include "base/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/text_format.h"

namespace hadal {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kHuge = size_t(2) << 20;
constexpr size_t kLargeGranule = size_t(64) << 10;

size_t size_class(size_t bytes) {
  if (bytes <= kAlign) return kAlign;
  const size_t step = std::max(kAlign, std::bit_floor(bytes - 1) / 8);
  const size_t rounded = (bytes + step - 1) / step * step;
  return rounded >= kHuge ? (rounded + kLargeGranule - 1) / kLargeGranule * kLargeGranule : rounded;
}

void* map_huge(size_t bytes) {
  char* raw = static_cast<char*>(
      mmap(nullptr, bytes + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (raw == MAP_FAILED) return nullptr;
  char* aligned = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(raw) + kHuge - 1) / kHuge * kHuge);
  if (aligned > raw) munmap(raw, size_t(aligned - raw));
  const size_t tail = size_t(raw + bytes + kHuge - (aligned + bytes));
  if (tail > 0) munmap(aligned + bytes, tail);
  madvise(aligned, bytes, MADV_HUGEPAGE);
  return aligned;
}

class SystemMemory : public MemorySource {
 public:
  void* allocate(size_t bytes) override { return bytes >= kHuge ? map_huge(bytes) : std::aligned_alloc(kAlign, bytes); }
  void release(void* block, size_t bytes) override {
    if (bytes >= kHuge) {
      munmap(block, bytes);
    } else {
      std::free(block);
    }
  }
};

// What outlives the pool: free lists and counts.
struct Shared {
  mutable std::mutex mutex;
  std::map<size_t, std::vector<void*>> free;
  size_t in_use = 0, peak = 0, reserved = 0, peak_reserved = 0;
  bool closed = false;  // the pool is gone: blocks that come back go to the system
  const std::unique_ptr<MemorySource> source;
  const size_t most;  // that may be reserved; 0: as much as there is

  Shared(std::unique_ptr<MemorySource> source, size_t most) : source(std::move(source)), most(most) {}
  ~Shared() { release_free(); }

  // Null: none is left, or the pool's most is reached.
  void* from_source(size_t block) { return most > 0 && reserved + block > most ? nullptr : source->allocate(block); }

  // A block of this class, or where none is free one that is up to half as large again: rows that come from other
  // ranks have no two sizes alike, and a class of its own for each of them would keep twice what is used.
  void* take(size_t& block) {
    const size_t largest = block < kLargeGranule ? block : block + block / 2;
    for (auto found = free.lower_bound(block); found != free.end() && found->first <= largest; ++found) {
      if (found->second.empty()) continue;
      void* data = found->second.back();
      found->second.pop_back();
      block = found->first;
      return data;
    }
    void* data = from_source(block);
    if (data == nullptr) {  // give the unused back and try once more
      release_free();
      data = from_source(block);
    }
    if (data != nullptr) reserved += block;
    peak_reserved = std::max(peak_reserved, reserved);
    return data;
  }

  void count(size_t bytes) {
    in_use += bytes;
    peak = std::max(peak, in_use);
  }

  void give(void* data, size_t block, size_t requested) {
    std::lock_guard lock(mutex);
    in_use -= requested;
    if (!closed) {
      free[block].push_back(data);
      return;
    }
    reserved -= block;
    source->release(data, block);
  }

  void release_free() {
    for (auto& [block, list] : free) {
      for (void* data : list) source->release(data, block);
      reserved -= block * list.size();
      list.clear();
    }
  }
};

}  // namespace

struct MemoryPool::State {
  std::shared_ptr<Shared> shared;
};

MemoryPool::MemoryPool(std::unique_ptr<MemorySource> source, int64_t most)
    : state_(std::make_unique<State>(State{std::make_shared<Shared>(std::move(source), size_t(most))})) {}

MemoryPool::~MemoryPool() {
  std::lock_guard lock(state_->shared->mutex);
  state_->shared->closed = true;
  state_->shared->release_free();
}

std::shared_ptr<MemoryPool> MemoryPool::create() { return create(std::make_unique<SystemMemory>(), 0); }

std::shared_ptr<MemoryPool> MemoryPool::create(std::unique_ptr<MemorySource> source, int64_t most) {
  return std::shared_ptr<MemoryPool>(new MemoryPool(std::move(source), most));
}

OpenDevice* MemoryPool::device() const { return state_->shared->source->device(); }
size_t MemoryPool::most() const { return state_->shared->most; }

std::shared_ptr<void> MemoryPool::allocate(size_t bytes) {
  check(bytes < (size_t(1) << 62), ErrorKind::invalid, "cannot allocate {} bytes: the size is out of range", bytes);
  std::shared_ptr<Shared> shared = state_->shared;
  size_t block = size_class(bytes);
  void* data;
  {
    std::lock_guard lock(shared->mutex);
    data = shared->take(block);
    if (data == nullptr) {
      const std::string left = shared->source->free_text();
      const auto text = [](size_t n) { return format_bytes(double(n)); };
      fail(ErrorKind::out_of_memory, "out of memory: {} asked for, {} in use by this pool{}{}{}", text(bytes),
           text(shared->in_use), shared->most > 0 ? " of at most " + text(shared->most) : "", left.empty() ? "" : "; ",
           left);
    }
    shared->count(bytes);
  }
  return std::shared_ptr<void>(data, [shared, block, bytes](void* p) { shared->give(p, block, bytes); });
}

std::shared_ptr<void> MemoryPool::adopt(std::shared_ptr<void> memory, size_t bytes) {
  std::shared_ptr<Shared> shared = state_->shared;
  {
    std::lock_guard lock(shared->mutex);
    shared->count(bytes);
  }
  void* data = memory.get();
  return std::shared_ptr<void>(data, [shared, bytes, memory = std::move(memory)](void*) {
    std::lock_guard lock(shared->mutex);
    shared->in_use -= bytes;
  });
}

size_t MemoryPool::bytes_in_use() const {
  std::lock_guard lock(state_->shared->mutex);
  return state_->shared->in_use;
}

size_t MemoryPool::peak_bytes() const {
  std::lock_guard lock(state_->shared->mutex);
  return state_->shared->peak;
}

size_t MemoryPool::bytes_reserved() const {
  std::lock_guard lock(state_->shared->mutex);
  return state_->shared->reserved;
}

size_t MemoryPool::peak_reserved() const {
  std::lock_guard lock(state_->shared->mutex);
  return state_->shared->peak_reserved;
}

void MemoryPool::reset_peak() {
  std::lock_guard lock(state_->shared->mutex);
  state_->shared->peak = state_->shared->in_use;
  state_->shared->peak_reserved = state_->shared->reserved;
}

void MemoryPool::trim() {
  std::lock_guard lock(state_->shared->mutex);
  state_->shared->release_free();
}

}  // namespace hadal
