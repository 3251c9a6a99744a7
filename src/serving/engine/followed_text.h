// FollowedText: a text and its constraint, followed on threads beside the engine's. What a library takes to say which
// ids may come next has no bound of its own: a text whose constraint is not through stands aside, and the step goes on
// with all others. Where time passes differently other steps write it, and never other ids.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "engine/constraint.h"

namespace hadal {

// Threads for work of unknown length: as many as there is work under way at a time, kept for the next.
class Helpers {
 public:
  Helpers() = default;
  ~Helpers();  // waits for what is under way; what has not begun never does
  Helpers(const Helpers&) = delete;
  void begin(std::function<void()> work);
  // Until some work has ended since the last wait, or for so long.
  void wait(std::chrono::milliseconds most);

 private:
  void run();
  std::mutex mutex_;
  std::condition_variable called_, ended_;
  std::deque<std::function<void()>> waiting_;
  size_t n_idle_ = 0;
  bool ends_ = false, some_ended_ = false;
  std::vector<std::thread> threads_;
};

class FollowedText {
 public:
  using Clock = std::chrono::steady_clock;
  // Begins to find out how the text may begin. The helpers must outlive it.
  FollowedText(Helpers& helpers, std::unique_ptr<ConstrainedText> text);

  // Whether it is known by then what may come next, or that the constraint failed.
  bool ready(Clock::time_point by = {}) const;
  // As ConstrainedText's, of the text as it stands; they wait, and throw what following it threw.
  std::span<const uint32_t> allowed() const;
  bool may_end() const;
  bool complete() const;    // it may end, and nothing may come
  void accept(int32_t id);  // begins to find out what may come behind it

 private:
  struct State;
  void follow(std::function<void(ConstrainedText&)> step);
  const State& known() const;
  Helpers& helpers_;
  std::shared_ptr<State> state_;
};

}  // namespace hadal
