// The emulated device: its memory and its streams. A pointer to its memory carries a tag that makes it no address at
// all: the host dies where it dereferences one, and a kernel that is given a host's address is refused by name.
//
// Memory that was released stays readable to us for a while, so that work that comes too late for it is named.
// Streams are lazy: what they are given waits, and runs at a moment drawn from the seed, at the latest when somebody
// waits for the stream; two streams are interleaved at random, but for their events.
//
// How often the host stands still for the device is counted: where it waits for a stream or an event, where it copies
// from or to memory that is not pinned, and where it releases memory. A call that fails leaves its error behind for
// whoever asks for the last one. The machine around it: machine.h.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "cuda_emulator/guarded.h"

namespace hadal::emulator {

struct Event {
  uint64_t recorded = 0, fired = 0;  // counted: an event may be recorded again
  double seconds = 0;                // when it fired last, by the host's clock
};

struct Work {
  std::string what;
  std::function<void()> run;  // null: an event's
  Event* event = nullptr;
  uint64_t count = 0;
  bool records = false;  // else waits
};

struct Stream {
  std::deque<Work> queue;
};

class Device {
 public:
  static Device& get();

  // From now on everything that is drawn comes from this seed. shuffled: false, ascending orders and eager streams.
  void begin(uint64_t seed, bool shuffled = true);
  uint64_t seed() const { return seed_; }
  bool shuffled() const { return shuffled_; }

  void* allocate(int64_t bytes);  // null: there is no more, which is the last error too
  void release(void* tagged);
  int64_t allocations() const { return int64_t(live_.size()); }
  int64_t bytes() const { return bytes_; }  // that are allocated
  int64_t free_bytes() const;
  void* allocate_pinned(int64_t bytes);
  void release_pinned(void* memory);
  bool is_pinned(const void* memory, int64_t bytes) const;
  int take_last_error() { return std::exchange(last_error_, 0); }
  int64_t synchronisations() const { return synchronisations_; }
  void count_copy_to();  // the device
  // The address behind a tagged pointer. Throws Error(invalid), naming `what`, for one that points nowhere, to released
  // memory, past an end, or to `bytes` that are not all inside.
  uint8_t* address(const void* tagged, int64_t bytes, const std::string& what) const;
  static bool is_tagged(uint64_t word);
  static bool is_host_address(uint64_t word);  // of memory that the host has mapped
  // Throws if a guard of any live memory has changed.
  void check_guards(const std::string& what) const;

  Stream* make_stream();
  void close(Stream* stream);
  void give(Stream* stream, Work work);
  void wait_for(Stream* stream);
  void wait_for(Event* event);                  // as it was recorded last
  double seconds_of(const Event* event) const;  // when it fired last
  Event* make_event();
  void close(Event* event);

 private:
  bool run_one(Stream* only);
  uint64_t next_random();
  void drop_all();
  void run_all(Stream* stream);
  void stand_still();

  mutable std::recursive_mutex mutex_;
  uint64_t seed_ = 0, random_ = 1;
  bool shuffled_ = true;
  std::map<uint64_t, std::unique_ptr<Guarded>> live_, released_;  // by address
  std::deque<uint64_t> released_order_;
  int64_t released_bytes_ = 0, bytes_ = 0;
  std::set<Stream*> streams_;
  std::set<Event*> events_;
  std::map<uint64_t, int64_t> pinned_;  // address, bytes
  int last_error_ = 0;
  int64_t synchronisations_ = 0, copies_to_ = 0;
};

}  // namespace hadal::emulator
