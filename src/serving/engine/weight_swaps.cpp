#include "engine/weight_swaps.h"

#include <utility>

#include "base/error.h"

namespace hadal {

std::future<void> WeightSwaps::add(std::function<void()> change, SwapWeights how) {
  const std::lock_guard lock(mutex_);
  Swap& swap = swaps_.emplace_back(Swap{std::move(change), how, {}});
  std::future<void> done = swap.done.get_future();
  if (closed_) {
    refuse(swap);
    swaps_.pop_back();
  }
  return done;
}

bool WeightSwaps::empty() const {
  const std::lock_guard lock(mutex_);
  return swaps_.empty();
}

std::optional<SwapWeights> WeightSwaps::next() const {
  const std::lock_guard lock(mutex_);
  if (swaps_.empty()) return {};
  return swaps_.front().how;
}

void WeightSwaps::carry_out(const std::function<void()>& changed) {
  std::unique_lock lock(mutex_);
  Swap swap = std::move(swaps_.front());
  swaps_.pop_front();
  lock.unlock();
  try {
    swap.change();
    changed();
    swap.done.set_value();
  } catch (...) {
    swap.done.set_exception(std::current_exception());
  }
}

void WeightSwaps::open() {
  const std::lock_guard lock(mutex_);
  closed_ = false;
}

void WeightSwaps::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (Swap& swap : swaps_) refuse(swap);
  swaps_.clear();
}

void WeightSwaps::refuse(Swap& swap) {
  swap.done.set_exception(
      std::make_exception_ptr(Error(ErrorKind::failed, "the engine has ended; its weights stay as they are")));
}

}  // namespace hadal
