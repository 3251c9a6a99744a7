#include "comm/nccl_wire.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/error.h"

namespace hadal {
namespace {

void check_done(const char* error) { check(error == nullptr, ErrorKind::failed, "{}", error ? error : ""); }

// What rank `from` says first to rank `to`.
int64_t greeting(int from, int to) { return (int64_t(from) << 32) + to + 1; }

}  // namespace

NcclWire::NcclWire(const NcclModule& module, int card, const NcclId& id, int rank, int size,
                   std::function<void()> go_on)
    : module_(module), go_on_(std::move(go_on)) {
  void* stage = nullptr;
  try {
    check_done(module.use(card, kStage, &stage));
    stage_ = static_cast<std::byte*>(stage);
    check_done(module.join(&id, rank, size));
    wait();
    greet(rank, size);
  } catch (...) {
    module.close();
    throw;
  }
}

NcclWire::~NcclWire() { module_.close(); }

// The stage holds what goes to each rank, then what comes from each.
void NcclWire::greet(int rank, int size) {
  constexpr int64_t kEach = sizeof(int64_t);
  const auto at = [&](int64_t i) { return stage_ + kEach * i; };
  std::memset(stage_, 0, size_t(2 * kEach * size));
  for (int r = 0; r < size; ++r) {
    const int64_t own = greeting(rank, r);
    std::memcpy(at(r), &own, kEach);
  }
  check_done(module_.upload(2 * kEach * size));
  wait();
  check_done(module_.together(1));
  for (int r = 0; r < size; ++r) {
    if (r == rank) continue;
    check_done(module_.send(r, kEach * r, kEach));
    check_done(module_.receive(r, kEach * (size + r), kEach));
  }
  check_done(module_.together(0));
  wait();
  check_done(module_.download(2 * kEach * size));
  wait();
  for (int r = 0; r < size; ++r) {
    int64_t got = 0;
    std::memcpy(&got, at(size + r), kEach);
    check(r == rank || got == greeting(r, rank), ErrorKind::failed,
          "of rank {}'s greeting, {:#x}, NCCL made {:#x}: the cards do not hear each other", r, greeting(r, rank), got);
  }
}

void NcclWire::send(int to, ConstBytes bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const size_t n = std::min(bytes.size() - at, size_t(kStage));
    std::memcpy(stage_, bytes.data() + at, n);
    check_done(module_.upload(int64_t(n)));
    check_done(module_.send(to, 0, int64_t(n)));
    wait();
    at += n;
  }
}

void NcclWire::receive(int from, MutableBytes bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const size_t n = std::min(bytes.size() - at, size_t(kStage));
    check_done(module_.receive(from, 0, int64_t(n)));
    wait();
    check_done(module_.download(int64_t(n)));
    wait();
    std::memcpy(bytes.data() + at, stage_, n);
    at += n;
  }
}

// Sleeps, first for moments.
void NcclWire::wait() {
  using std::chrono::microseconds;
  for (auto idle = microseconds(10);; idle = std::min(idle * 2, microseconds(1000))) {
    int done = 0;
    check_done(module_.done(&done));
    if (done) return;
    go_on_();
    std::this_thread::sleep_for(idle);
  }
}

}  // namespace hadal
