// WeightSwaps: exchanges of weights that were asked for, from any thread, in their order, until the thread that steps
// carries them out.
#pragma once
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <optional>

namespace hadal {

// What becomes of requests that run when weights are exchanged: they end with the old ones first, or begin anew with
// the new ones.
enum class SwapWeights { finish, restart };

class WeightSwaps {
 public:
  // The future is ready when the new ones serve; it throws what `change` threw, or failed where the engine has ended.
  std::future<void> add(std::function<void()> change, SwapWeights how);
  bool empty() const;
  std::optional<SwapWeights> next() const;

  // For the thread that steps. The next one: its change, and where that did not throw, `changed`.
  void carry_out(const std::function<void()>& changed);
  void open();   // steps begin
  void close();  // they have ended: what waits, and what comes before they begin again, fails

 private:
  struct Swap {
    std::function<void()> change;
    SwapWeights how;
    std::promise<void> done;
  };
  static void refuse(Swap& swap);

  mutable std::mutex mutex_;
  std::deque<Swap> swaps_;
  bool closed_ = false;
};

}  // namespace hadal
