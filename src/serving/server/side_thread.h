// SideThread: work that takes seconds, one piece after the other on a thread of its own, so that workers go on
// answering.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace hadal {

class SideThread {
 public:
  explicit SideThread(size_t most_waiting) : most_(most_waiting) {
    thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
  }
  // False: too many wait already.
  bool take(std::function<void()> work) {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= most_) return false;
    waiting_.push_back(std::move(work));
    called_.notify_one();
    return true;
  }

 private:
  void run(std::stop_token stop) {
    while (true) {
      std::function<void()> next;
      {
        std::unique_lock lock(mutex_);
        if (!called_.wait(lock, stop, [this] { return !waiting_.empty(); })) return;
        next = std::move(waiting_.front());
        waiting_.pop_front();
      }
      if (stop.stop_requested()) return;
      next();
    }
  }

  const size_t most_;
  std::mutex mutex_;
  std::condition_variable_any called_;
  std::deque<std::function<void()>> waiting_;
  std::jthread thread_;  // last: it ends before what it uses
};

}  // namespace hadal
