#include "comm/rank_threads.h"

#include <malloc.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "comm/reason.h"

namespace hadal {
namespace {

using Clock = std::chrono::steady_clock;

// What the ranks of a run share.
class World {
 public:
  explicit World(int n_ranks) : ranks_(size_t(n_ranks)) {}

  int size() const { return int(ranks_.size()); }

  void send(int from, int to, Message message) {
    const std::lock_guard lock(mutex_);
    check(to >= 0 && to < size() && to != from, ErrorKind::internal, "{}: rank {} sends to rank {} of {}",
          message.label.operation, from, to, size());
    const Key key{from, message.label.channel, message.label.number};
    Rank& receiver = ranks_[size_t(to)];
    const bool fresh = receiver.inbox.emplace(key, std::move(message)).second;
    check(fresh, ErrorKind::internal, "rank {} sent two messages of one number to rank {}", from, to);
    receiver.changed.notify_all();
  }

  // `doing` is null in another thread than the rank's own. Who waits there is no part of the search for a deadlock:
  // what a rank's own thread waits for comes from such threads alone, and the others end before their rank returns.
  Message receive(int from, int to, const Label& wanted, const Doing* doing) {
    std::unique_lock lock(mutex_);
    check(from >= 0 && from < size() && from != to, ErrorKind::internal, "{}: rank {} receives from rank {} of {}",
          wanted.operation, to, from, size());
    Rank& rank = ranks_[size_t(to)];
    const Key key{from, wanted.channel, wanted.number};
    const auto here = [&] { return rank.inbox.find(key); };
    const bool& over = ranks_[size_t(from)].over;
    auto found = here();
    if (found == rank.inbox.end()) {
      if (doing) {
        rank.waits = Wait{from, key, wanted, *doing, Clock::now()};
        if (!failure_) look_for_deadlock();
      }
      rank.changed.wait(lock, [&] { return here() != rank.inbox.end() || failure_ || (over && !doing); });
      if (doing) rank.waits.reset();
      found = here();
    }
    if (found == rank.inbox.end())
      throw Error(ErrorKind::failed, failure_ ? *failure_
                                              : fmt::format("rank {} has returned while rank {} waits for it in {}",
                                                            from, to, wanted.operation));
    Message message = std::move(found->second);
    rank.inbox.erase(found);
    return message;
  }

  void returned(int rank) {
    const std::lock_guard lock(mutex_);
    ranks_[size_t(rank)].over = true;
    if (!failure_) look_for_deadlock();
    wake_all();
  }

  // The first error of a rank ends the waits of all.
  void failed(int rank, const std::string& why, std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    ranks_[size_t(rank)].over = true;
    if (first_error_) return;
    first_error_ = std::move(error);
    first_rank_ = rank;
    if (!failure_) failure_ = fmt::format("rank {} ended: {}", rank, why);
    wake_all();
  }

  std::exception_ptr first_error() const { return first_error_; }
  int first_rank() const { return first_rank_; }

 private:
  using Key = std::tuple<int, uint64_t, int64_t>;  // from, channel, number
  struct Wait {
    int from = 0;
    Key key;
    Label wanted;
    Doing doing;
    Clock::time_point since;
  };
  struct Rank {
    std::map<Key, Message> inbox;
    std::condition_variable changed;  // a message came, or nothing more will
    std::optional<Wait> waits;
    bool over = false;
  };

  bool stuck(const Rank& rank) const { return rank.waits && !rank.inbox.contains(rank.waits->key); }

  // Messages come from ranks that run. Where none runs, or the one waited for is gone, the wait has no end.
  void look_for_deadlock() {
    bool one_runs = false, one_waits_for_the_gone = false;
    for (const Rank& rank : ranks_) {
      one_runs = one_runs || (!rank.over && !stuck(rank));
      one_waits_for_the_gone = one_waits_for_the_gone || (stuck(rank) && ranks_[size_t(rank.waits->from)].over);
    }
    bool anyone_waits = false;
    for (const Rank& rank : ranks_) anyone_waits = anyone_waits || stuck(rank);
    if (!anyone_waits || (one_runs && !one_waits_for_the_gone)) return;
    std::string text = "ranks wait for messages that nobody will send:";
    for (size_t r = 0; r < ranks_.size(); ++r) {
      const Rank& rank = ranks_[r];
      if (rank.over) {
        text += fmt::format(" rank {} has returned;", r);
      } else if (!stuck(rank)) {
        text += fmt::format(" rank {} computes;", r);
      } else {
        const double seconds = std::chrono::duration<double>(Clock::now() - rank.waits->since).count();
        text += fmt::format(" rank {} waits for {};", r,
                            wait_text(rank.waits->from, rank.waits->wanted, seconds, rank.waits->doing));
      }
    }
    text.pop_back();
    failure_ = std::move(text);
    wake_all();
  }

  void wake_all() {
    for (Rank& rank : ranks_) rank.changed.notify_all();
  }

  std::mutex mutex_;
  std::vector<Rank> ranks_;
  std::optional<std::string> failure_;
  std::exception_ptr first_error_;
  int first_rank_ = -1;
};

class ThreadTransport : public Transport {
 public:
  ThreadTransport(World& world, int rank) : world_(world), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return world_.size(); }
  std::string name() const override { return "threads"; }
  bool instant() const override { return true; }
  void send(int to, Message message) override { world_.send(rank_, to, std::move(message)); }
  Message receive(int from, const Label& wanted) override {
    return world_.receive(from, rank_, wanted, std::this_thread::get_id() == own_ ? &doing() : nullptr);
  }

 private:
  World& world_;
  int rank_;
  std::thread::id own_ = std::this_thread::get_id();
};

void run_one(World& world, int rank, const std::function<void(std::shared_ptr<Transport>)>& body) {
  try {
    body(std::make_shared<ThreadTransport>(world, rank));
    world.returned(rank);
  } catch (const std::exception& error) {
    world.failed(rank, reason_of(error), std::current_exception());
  }
}

// Ranks allocate and free what they send many times a step. The C library would give such memory back to the system
// each time, whose cleared pages then cost more than the bytes that travel.
void keep_freed_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

}  // namespace

void run_rank_threads(int n_ranks, const std::function<void(std::shared_ptr<Transport>)>& body) {
  check(n_ranks > 0, ErrorKind::invalid, "{} ranks; at least 1 is needed", n_ranks);
  check(n_ranks <= kMostRankThreads, ErrorKind::invalid,
        "{} ranks as threads of one process: {} are the most; more ranks are processes: --transport mpi", n_ranks,
        kMostRankThreads);
  if (n_ranks > 1) keep_freed_memory();
  World world(n_ranks);
  std::vector<std::thread> threads;
  for (int rank = 1; rank < n_ranks; ++rank) {
    try {
      threads.emplace_back([&, rank] { run_one(world, rank, body); });
    } catch (const std::system_error& error) {
      const std::string why = fmt::format("the system starts no thread for rank {}: {}", rank, error.what());
      for (int missing = rank; missing < n_ranks; ++missing)
        world.failed(missing, why, std::make_exception_ptr(Error(ErrorKind::io, why)));
      break;
    }
  }
  run_one(world, 0, body);
  for (std::thread& thread : threads) thread.join();
  if (!world.first_error()) return;
  try {
    std::rethrow_exception(world.first_error());
  } catch (const Error& error) {
    if (n_ranks == 1) throw;
    throw Error(error.kind(), fmt::format("rank {}: {}", world.first_rank(), error.what()));
  } catch (const std::bad_alloc& error) {
    throw Error(ErrorKind::out_of_memory, fmt::format("rank {}: {}", world.first_rank(), reason_of(error)));
  }
}

}  // namespace hadal
