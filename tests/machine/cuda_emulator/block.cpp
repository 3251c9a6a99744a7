// The scheduler of a block. This file and fiber.cpp are compiled without the thread sanitizer, which is told instead
// what barriers, shuffles and the beginning and end of a block order; what it reports is then the kernel's own.
#include "cuda_emulator/block.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "cuda_emulator/asynchronous.h"
#include "cuda_emulator/fiber.h"
#include "cuda_emulator/guarded.h"
#include "cuda_emulator/order.h"

namespace hadal::emulator {
namespace {

constexpr int kWarp = 32;
struct Cancelled {};  // unwinds the threads of a launch that has failed

enum class Wait : uint8_t { none, block, warp, condition };

struct Thread {
  Fiber fiber;
  struct Block* block = nullptr;
  int index = 0;
  Wait wait = Wait::none;
  std::source_location where;
  const Condition* condition = nullptr;
};

// Where the threads of a block, or the lanes of a warp, meet.
struct Meeting {
  int arrived = 0;
  std::source_location where;  // of the first to arrive
  uint64_t generation = 0;
  char marks[2];  // what even and odd meetings order, apart: one thread may be at the next before another has left this
};
struct Warp : Meeting {
  uint64_t values[2][kWarp];  // of even and of odd exchanges, for the same reason
};

struct Block {
  const Grid* grid = nullptr;
  const std::function<void()>* thread = nullptr;
  int64_t index = 0;
  Thread* threads = nullptr;
  Meeting barrier;
  std::unique_ptr<Warp[]> warps;
  uint8_t* shared = nullptr;
  std::unique_ptr<int[]> runnable;
  int n_runnable = 0;
  std::unique_ptr<Asynchronous> asynchronous;  // made when it is first asked for
  bool cancelled = false;
  std::exception_ptr error;
  uint64_t random = 1;

  uint64_t next_random() {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    return random;
  }
};

thread_local Thread* current __attribute__((tls_model("initial-exec"))) = nullptr;
thread_local Block* running_block = nullptr;

char block_begins, block_ended;  // marks for the two above

const char* file_name(const std::source_location& where) {
  const char* slash = std::strrchr(where.file_name(), '/');
  return slash ? slash + 1 : where.file_name();
}
std::string place(const std::source_location& where) { return fmt::format("{}:{}", file_name(where), where.line()); }

void suspend(Wait wait, const std::source_location& where) {
  Thread* self = current;
  if (self->block->cancelled) throw Cancelled();
  self->wait = wait, self->where = where;
  Fiber::suspend();
  if (self->block->cancelled) throw Cancelled();
}

// Notes an arrival; true for the last of `expected`.
bool arrive(Meeting& meeting, int expected, const std::source_location& where, const char* what) {
  if (meeting.arrived == 0) {
    meeting.where = where;
  } else if (meeting.where.line() != where.line() || std::strcmp(meeting.where.file_name(), where.file_name()) != 0) {
    fail(ErrorKind::internal, "thread {} is at a {} at {}, others are at one at {}", current->index, what, place(where),
         place(meeting.where));
  }
  if (++meeting.arrived < expected) return false;
  meeting.arrived = 0;
  ++meeting.generation;
  return true;
}

void release_waiting(Block& block, int first, int n, Wait wait) {
  for (int i = first; i < first + n; ++i) {
    if (block.threads[i].wait != wait) continue;
    block.threads[i].wait = Wait::none;
    block.runnable[block.n_runnable++] = i;
  }
}

void run_thread(void* context) {
  auto* self = static_cast<Thread*>(context);
  happens_after(&block_begins);
  try {
    (*self->block->thread)();
  } catch (const Cancelled&) {
  } catch (...) {
    if (!self->block->error) self->block->error = std::current_exception();
  }
  happens_before(&block_ended);
}

void resume(Block& block, int i) {
  current = &block.threads[i];
  current->fiber.resume();
  current = nullptr;
}

// "threads 0-31 and 40 wait at a barrier at x.cu:7"
std::string who_waits(const Block& block) {
  std::string text;
  std::vector<bool> told(size_t(block.grid->threads));
  for (int i = 0; i < block.grid->threads; ++i) {
    if (told[size_t(i)]) continue;
    const Thread& first = block.threads[i];
    const auto alike = [&](const Thread& t) {
      return t.wait == first.wait && t.fiber.ended() == first.fiber.ended() &&
             (first.wait == Wait::none || place(t.where) == place(first.where)) &&
             (first.wait != Wait::condition || t.condition->text() == first.condition->text());
    };
    text += text.empty() ? "threads" : "; threads";
    for (int from = i; from < block.grid->threads; ++from) {
      if (!alike(block.threads[from])) continue;
      int to = from;
      while (to + 1 < block.grid->threads && alike(block.threads[to + 1])) ++to;
      for (int j = from; j <= to; ++j) told[size_t(j)] = true;
      text += to > from ? fmt::format(" {}-{}", from, to) : fmt::format(" {}", from);
      from = to;
    }
    if (first.fiber.ended()) {
      text += " have ended";
    } else {
      const std::string what = first.wait == Wait::condition ? "for a " + first.condition->text()
                               : first.wait == Wait::block   ? "at a block barrier"
                                                             : "at a warp exchange";
      text += fmt::format(" wait {} at {}", what, place(first.where));
    }
  }
  return text;
}

// Runs all threads of the block to their end, or throws.
void schedule(Block& block) {
  int left = block.grid->threads;
  for (int i = 0; i < left; ++i) block.runnable[i] = left - 1 - i;  // taken from the end
  block.n_runnable = left;
  while (left > 0) {
    if (Asynchronous* work = block.asynchronous.get()) {
      const bool idle = block.n_runnable == 0;
      if ((idle || block.next_random() % 4 == 0) && work->run_one(idle)) continue;
    }
    if (block.n_runnable == 0) fail(ErrorKind::internal, "deadlock: {}", who_waits(block));
    const int last = --block.n_runnable;
    const int at = block.grid->shuffled ? int(block.next_random() % uint64_t(last + 1)) : last;
    const int i = block.runnable[at];
    block.runnable[at] = block.runnable[last];
    resume(block, i);
    if (block.error) std::rethrow_exception(block.error);
    left -= block.threads[i].fiber.ended();
  }
}

void cancel(Block& block) {
  block.cancelled = true;
  for (int i = 0; i < block.grid->threads; ++i) {
    const Fiber& fiber = block.threads[i].fiber;
    if (fiber.started() && !fiber.ended()) resume(block, i);
  }
}

// The fibers of this thread of the system: stacks are made once.
Thread* threads_of_pool(int n) {
  thread_local std::vector<std::unique_ptr<Thread[]>> pools;
  thread_local int size = 0;
  if (n > size) {
    pools.clear();
    pools.push_back(std::make_unique<Thread[]>(size_t(n)));
    size = n;
  }
  return pools.back().get();
}

[[noreturn]] void fail_in_block(const Block& block) {
  const auto where = [&] {
    return fmt::format("kernel '{}', block {}, seed {}: ", block.grid->kernel, block.index, block.grid->seed);
  };
  try {
    throw;
  } catch (const Error& error) {
    throw Error(error.kind(), where() + error.what());
  } catch (const std::exception& error) {
    throw Error(ErrorKind::internal, where() + error.what());
  } catch (...) {
    throw Error(ErrorKind::internal, where() + "threw something that is no std::exception");
  }
}

void run_block(const Grid& grid, const std::function<void()>& thread, int64_t index) {
  Block block{.grid = &grid, .thread = &thread, .index = index, .threads = threads_of_pool(grid.threads)};
  block.random = ((grid.seed + 1) * 0x9E3779B97F4A7C15ull + uint64_t(index) * 0xD1B54A32D192ED03ull) | 1;
  block.warps = std::make_unique<Warp[]>(size_t(grid.threads / kWarp));
  block.runnable = std::make_unique<int[]>(size_t(grid.threads));
  const Guarded shared(grid.shared_bytes, 1024);
  block.shared = shared.data();
  for (int i = 0; i < grid.threads; ++i) {
    Thread& t = block.threads[i];
    t.block = &block, t.index = i, t.wait = Wait::none;
    t.fiber.begin(&run_thread, &t);
  }
  running_block = &block;
  happens_before(&block_begins);
  try {
    schedule(block);
    happens_after(&block_ended);
    if (block.asynchronous) block.asynchronous->check_ended();
    if (const auto at = shared.touched())
      fail(ErrorKind::internal, "byte {} of {} bytes of shared memory was written to", *at, grid.shared_bytes);
  } catch (...) {
    cancel(block);
    happens_after(&block_ended);
    fail_in_block(block);
  }
}

}  // namespace

void run_grid(const Grid& grid, const std::function<void()>& thread) {
  check(current == nullptr, ErrorKind::internal, "kernel '{}' is launched by a kernel", grid.kernel);
  std::vector<int64_t> order(static_cast<size_t>(grid.blocks));
  std::iota(order.begin(), order.end(), 0);
  uint64_t random = ((grid.seed + 1) * 0xBF58476D1CE4E5B9ull) | 1;
  for (size_t i = order.size(); grid.shuffled && i > 1; --i) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    std::swap(order[i - 1], order[random % i]);
  }
  for (const int64_t index : order) run_block(grid, thread, index);
}

int thread_index() { return current->index; }
int block_threads() { return current->block->grid->threads; }
int64_t block_index() { return current->block->index; }
int64_t grid_blocks() { return current->block->grid->blocks; }

uint8_t* shared_memory(int64_t bytes) {
  check(bytes <= current->block->grid->shared_bytes, ErrorKind::internal,
        "the kernel takes {} bytes of shared memory, its launch has {}", bytes, current->block->grid->shared_bytes);
  return current->block->shared;
}

void wait_for_block(const std::source_location& where) {
  Block& block = *current->block;
  char* mark = &block.barrier.marks[block.barrier.generation % 2];
  happens_before(mark);
  if (arrive(block.barrier, block.grid->threads, where, "block barrier")) {
    release_waiting(block, 0, block.grid->threads, Wait::block);
  } else {
    suspend(Wait::block, where);
  }
  happens_after(mark);
}

void wait_until(const Condition& condition, const std::source_location& where) {
  while (!condition.holds()) {
    current->condition = &condition;
    suspend(Wait::condition, where);
  }
}

void wake_all() {
  Block& block = *running_block;
  release_waiting(block, 0, block.grid->threads, Wait::condition);
}

uint64_t random_number() { return running_block->next_random(); }

Asynchronous& asynchronous() {
  Block& block = *current->block;
  const Unseen unseen;
  if (!block.asynchronous)
    block.asynchronous = std::make_unique<Asynchronous>(block.shared, block.grid->shared_bytes, block.grid->threads);
  return *block.asynchronous;
}

const uint64_t* exchange_in_warp(uint64_t value, const std::source_location& where) {
  Block& block = *current->block;
  const int first = current->index / kWarp * kWarp;
  Warp& warp = block.warps[size_t(first / kWarp)];
  uint64_t* values = warp.values[warp.generation % 2];
  char* mark = &warp.marks[warp.generation % 2];
  values[current->index % kWarp] = value;
  happens_before(mark);
  if (arrive(warp, kWarp, where, "warp exchange")) {
    release_waiting(block, first, kWarp, Wait::warp);
  } else {
    suspend(Wait::warp, where);
  }
  happens_after(mark);
  return values;
}

}  // namespace hadal::emulator
