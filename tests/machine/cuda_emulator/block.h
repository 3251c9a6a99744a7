// A block of an emulated grid: its threads are fibers, one of which runs at a time, until it waits for others or ends.
// Who runs next is drawn at random from a seed, so that what threads owe to luck shows. Shared memory is filled with
// ones before a block begins (a NaN in every format), and what lies behind it must stay as it was.
//
// A launch ends with an Error that names kernel, block and seed when
//   a thread throws (a check inside the kernel)
//   no thread can go on: the message says who waits where for what, and who has ended
//   threads meet at one barrier, or lanes at one shuffle, from different lines
//   something wrote behind shared memory
// Its other threads are then unwound; the emulator can be used on.
#pragma once
#include <cstdint>
#include <functional>
#include <source_location>
#include <string>

namespace hadal::emulator {

struct Grid {
  const char* kernel = "";
  int64_t blocks = 1;
  int threads = 32;
  int64_t shared_bytes = 0;
  uint64_t seed = 0;
  bool shuffled = true;  // false: blocks and threads in ascending order
};
void run_grid(const Grid& grid, const std::function<void()>& thread);

// What a thread of a running block may ask and do (called by the second implementation of the thin layer).
int thread_index();
int block_threads();
int64_t block_index();
int64_t grid_blocks();
uint8_t* shared_memory(int64_t bytes);  // checks that the launch has as many
void wait_for_block(const std::source_location& where);
// Gives this lane's value and waits for those of the whole warp: 32 values, to be read before the next exchange.
const uint64_t* exchange_in_warp(uint64_t value, const std::source_location& where);

// What a thread waits for that others, or asynchronous work, bring about and tell by wake_all().
struct Condition {
  virtual bool holds() const = 0;
  virtual std::string text() const = 0;  // "phase of parity 1"

 protected:
  ~Condition() = default;
};
void wait_until(const Condition& condition, const std::source_location& where);
void wake_all();
uint64_t random_number();  // of the block's schedule
class Asynchronous;
Asynchronous& asynchronous();  // of the block

}  // namespace hadal::emulator
