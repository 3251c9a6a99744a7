#include "engine/followed_text.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace hadal {

Helpers::~Helpers() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
    waiting_.clear();
  }
  called_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Helpers::begin(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(work));
  if (waiting_.size() > n_idle_) threads_.emplace_back([this] { run(); });
  called_.notify_one();
}

void Helpers::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++n_idle_;
    called_.wait(lock, [this] { return ends_ || !waiting_.empty(); });
    --n_idle_;
    if (ends_) return;
    std::function<void()> work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
    some_ended_ = true;
    ended_.notify_all();
  }
}

void Helpers::wait(std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  ended_.wait_for(lock, most, [this] { return some_ended_; });
  some_ended_ = false;
}

// The work that follows the text has it to itself until `done`.
struct FollowedText::State {
  std::unique_ptr<ConstrainedText> text;
  std::vector<uint32_t> allowed;
  bool may_end = false;
  std::exception_ptr error;
  mutable std::mutex mutex;  // of `done`
  mutable std::condition_variable called;
  bool done = false;
};

FollowedText::FollowedText(Helpers& helpers, std::unique_ptr<ConstrainedText> text)
    : helpers_(helpers), state_(std::make_shared<State>()) {
  state_->text = std::move(text);
  follow([](ConstrainedText&) {});
}

void FollowedText::follow(std::function<void(ConstrainedText&)> step) {
  state_->done = false;
  helpers_.begin([state = state_, step = std::move(step)] {
    try {
      step(*state->text);
      const std::span<const uint32_t> allowed = state->text->allowed();
      state->allowed.assign(allowed.begin(), allowed.end());
      state->may_end = state->text->may_end();
    } catch (...) {
      state->error = std::current_exception();
    }
    const std::lock_guard lock(state->mutex);
    state->done = true;
    state->called.notify_all();
  });
}

bool FollowedText::ready(Clock::time_point by) const {
  std::unique_lock lock(state_->mutex);
  return state_->called.wait_until(lock, by, [this] { return state_->done; });
}

const FollowedText::State& FollowedText::known() const {
  std::unique_lock lock(state_->mutex);
  state_->called.wait(lock, [this] { return state_->done; });
  if (state_->error) std::rethrow_exception(state_->error);
  return *state_;
}

std::span<const uint32_t> FollowedText::allowed() const { return known().allowed; }
bool FollowedText::may_end() const { return known().may_end; }

bool FollowedText::complete() const {
  const State& state = known();
  const auto none = [](uint32_t word) { return word == 0; };
  return state.may_end && std::all_of(state.allowed.begin(), state.allowed.end(), none);
}

void FollowedText::accept(int32_t id) {
  known();
  follow([id](ConstrainedText& text) { text.accept(id); });
}

}  // namespace hadal
