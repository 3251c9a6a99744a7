#include "cuda_emulator/device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "cuda_emulator/machine.h"
#include "kernels/cuda/hopper/runtime.h"

namespace hadal::emulator {
namespace {

// In the upper 16 bits, where an address of a program has zeros: no address, no small integer, no likely double.
constexpr uint64_t kTag = uint64_t(0x5ad5) << 48, kTagBits = uint64_t(0xffff) << 48;
constexpr int64_t kKeepReleased = int64_t(64) << 20;  // bytes

uint64_t word_of(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

// The one of `all` that holds the address, or ends there; null: none.
const Guarded* holder(const std::map<uint64_t, std::unique_ptr<Guarded>>& all, uint64_t at) {
  auto next = all.upper_bound(at);
  if (next == all.begin()) return nullptr;
  const Guarded* memory = std::prev(next)->second.get();
  return at <= word_of(memory->data()) + uint64_t(memory->bytes()) ? memory : nullptr;
}

}  // namespace

Device& Device::get() {
  static Device device;
  return device;
}

void Device::begin(uint64_t seed, bool shuffled) {
  const std::lock_guard lock(mutex_);
  seed_ = seed, shuffled_ = shuffled;
  random_ = (seed + 1) * 0x9E3779B97F4A7C15ull | 1;
}

uint64_t Device::next_random() {
  random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
  return random_;
}

void* Device::allocate(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > free_bytes()) {
    last_error_ = kernels::cuda::kNoMemory;
    return nullptr;
  }
  bytes_ += bytes;
  auto memory = std::make_unique<Guarded>(bytes, 256);
  const uint64_t at = word_of(memory->data());
  live_[at] = std::move(memory);
  return reinterpret_cast<void*>(at | kTag);
}

int64_t Device::free_bytes() const { return std::max<int64_t>(0, machine().memory - machine().others - bytes_); }

void Device::stand_still() {
  Machine& around = machine();
  if (++synchronisations_ != around.event_at) return;
  if (around.interrupt) std::raise(SIGINT);
  if (around.taken) around.others = around.memory;
}

void Device::count_copy_to() {
  const std::lock_guard lock(mutex_);
  if (++copies_to_ != machine().cut_at) return;
  const std::filesystem::path file = machine().cut_file;
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
}

void* Device::allocate_pinned(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  void* memory = ::operator new(size_t(bytes));
  pinned_[word_of(memory)] = bytes;
  return memory;
}

void Device::release_pinned(void* memory) {
  const std::lock_guard lock(mutex_);
  check(memory == nullptr || pinned_.erase(word_of(memory)) == 1, ErrorKind::invalid,
        "release of {}, which is no pinned memory", memory);
  ::operator delete(memory);
}

bool Device::is_pinned(const void* memory, int64_t bytes) const {
  const std::lock_guard lock(mutex_);
  const auto next = pinned_.upper_bound(word_of(memory));
  if (next == pinned_.begin()) return false;
  const auto& [begin, size] = *std::prev(next);
  return word_of(memory) + uint64_t(bytes) <= begin + uint64_t(size);
}

void Device::release(void* tagged) {
  if (tagged == nullptr) return;
  const std::lock_guard lock(mutex_);
  stand_still();
  const auto found = live_.find(word_of(tagged) & ~kTagBits);
  check(is_tagged(word_of(tagged)) && found != live_.end(), ErrorKind::invalid,
        "release of {}, which is no memory of the device, or was released before", tagged);
  check_guards("release");
  const uint64_t at = found->first;
  std::memset(found->second->data(), Guarded::kFresh, size_t(found->second->bytes()));
  released_bytes_ += found->second->bytes(), bytes_ -= found->second->bytes();
  released_[at] = std::move(found->second);
  released_order_.push_back(at);
  live_.erase(found);
  while (released_bytes_ > kKeepReleased) {
    const auto oldest = released_.find(released_order_.front());
    released_bytes_ -= oldest->second->bytes();
    released_.erase(oldest);
    released_order_.pop_front();
  }
}

bool Device::is_tagged(uint64_t word) { return (word & kTagBits) == kTag; }

bool Device::is_host_address(uint64_t word) {
  // Programs, heaps and stacks lie above 2^46 (as position-independent code does); below are large numbers, and the
  // sanitizers' own memory.
  if (word < (uint64_t(1) << 46) || word >= (uint64_t(1) << 47)) return false;
  static const auto page = uint64_t(sysconf(_SC_PAGESIZE));
  unsigned char there = 0;
  return mincore(reinterpret_cast<void*>(word / page * page), 1, &there) == 0;
}

uint8_t* Device::address(const void* tagged, int64_t bytes, const std::string& what) const {
  const std::lock_guard lock(mutex_);
  const uint64_t word = word_of(tagged), at = word & ~kTagBits;
  if (!is_tagged(word)) {
    fail(ErrorKind::invalid, "{}: {} is {}, expected device memory", what, tagged,
         is_host_address(word) ? "an address of the host" : "no address of anything");
  }
  if (const Guarded* memory = holder(live_, at)) {
    const int64_t offset = int64_t(at - word_of(memory->data()));
    check(bytes <= memory->bytes() - offset, ErrorKind::invalid, "{}: {} bytes from byte {} on, of {} bytes of memory",
          what, bytes, offset, memory->bytes());
    return reinterpret_cast<uint8_t*>(at);
  }
  const Guarded* memory = holder(released_, at);
  check(memory == nullptr, ErrorKind::invalid, "{}: memory of {} bytes that was released", what,
        memory ? memory->bytes() : 0);
  fail(ErrorKind::invalid, "{}: {} points to no memory of the device", what, tagged);
}

void Device::check_guards(const std::string& what) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [at, memory] : live_) {
    const auto touched = memory->touched();
    check(!touched, ErrorKind::internal, "{}: byte {} of {} bytes of device memory was written to", what,
          touched.value_or(0), memory->bytes());
  }
}

Stream* Device::make_stream() {
  const std::lock_guard lock(mutex_);
  return *streams_.insert(new Stream).first;
}

void Device::close(Stream* stream) {
  const std::lock_guard lock(mutex_);
  wait_for(stream);
  streams_.erase(stream);
  delete stream;
}

Event* Device::make_event() {
  const std::lock_guard lock(mutex_);
  return *events_.insert(new Event).first;
}

void Device::close(Event* event) {
  const std::lock_guard lock(mutex_);
  events_.erase(event);
  delete event;
}

void Device::give(Stream* stream, Work work) {
  const std::lock_guard lock(mutex_);
  check(streams_.contains(stream), ErrorKind::invalid, "{}: there is no such stream", work.what);
  if (work.event != nullptr) {
    check(events_.contains(work.event), ErrorKind::invalid, "{}: there is no such event", work.what);
    work.count = work.records ? ++work.event->recorded : work.event->recorded;
  }
  stream->queue.push_back(std::move(work));
  if (!shuffled_) return run_all(stream);
  while (next_random() % 4 == 0 && run_one(nullptr)) {
  }
}

// Runs the first work of a stream that may run, drawn at random among all (or `only` one); false: there is none.
bool Device::run_one(Stream* only) {
  std::vector<Stream*> ready;
  for (Stream* stream : streams_) {
    if ((only != nullptr && stream != only) || stream->queue.empty()) continue;
    const Work& first = stream->queue.front();
    if (first.event != nullptr && !first.records && first.event->fired < first.count) continue;
    ready.push_back(stream);
  }
  if (ready.empty()) return false;
  Stream* stream = ready[shuffled_ ? next_random() % ready.size() : 0];
  const Work work = std::move(stream->queue.front());
  stream->queue.pop_front();
  if (work.records) work.event->fired = work.count, work.event->seconds = steady_seconds();
  if (!work.run) return true;
  try {
    work.run();
    check_guards(work.what);
  } catch (...) {
    drop_all();  // as on a device: what comes after a fault is lost
    throw;
  }
  return true;
}

void Device::drop_all() {
  for (Stream* stream : streams_) stream->queue.clear();
  for (Event* event : events_) event->fired = event->recorded;
}

void Device::wait_for(Stream* stream) {
  const std::lock_guard lock(mutex_);
  check(streams_.contains(stream), ErrorKind::invalid, "waiting for a stream that does not exist");
  stand_still();
  run_all(stream);
}

void Device::run_all(Stream* stream) {
  while (!stream->queue.empty()) {
    if (run_one(nullptr)) continue;
    const std::string what = stream->queue.front().what;
    drop_all();
    fail(ErrorKind::internal, "streams wait for each other: '{}' never comes", what);
  }
}

void Device::wait_for(Event* event) {
  const std::lock_guard lock(mutex_);
  check(events_.contains(event), ErrorKind::invalid, "waiting for an event that does not exist");
  stand_still();
  const uint64_t count = event->recorded;
  while (event->fired < count)
    check(run_one(nullptr), ErrorKind::internal, "the host waits for an event that never fires");
}

double Device::seconds_of(const Event* event) const {
  const std::lock_guard lock(mutex_);
  check(events_.contains(const_cast<Event*>(event)) && event->recorded > 0 && event->fired == event->recorded,
        ErrorKind::invalid, "the time of an event that has not fired");
  return event->seconds;
}

}  // namespace hadal::emulator
