// Progress of a long piece of work, on standard error: on a terminal one line redrawn in place (bar, percent, rate,
// time left), elsewhere a plain line every few seconds. Work that ends before the first line was due prints nothing
// until finish().
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

namespace hadal {

struct ProgressOptions {
  std::string unit = "";     // "B" counts bytes (printed as KiB, MiB); anything else is appended to the rate
  bool quiet = false;        // print nothing at all
  double plain_seconds = 5;  // between lines when not on a terminal
  int descriptor = 2;
};

class Progress {
 public:
  // total 0: unknown, no percent and no time left
  Progress(std::string label, int64_t total, ProgressOptions options = {});
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(int64_t amount) { update(done_.fetch_add(amount, std::memory_order_relaxed) + amount); }  // any thread
  void set(int64_t done) { done_.store(done, std::memory_order_relaxed), update(done); }
  void note(std::string text);  // shown at the end of the line
  void finish();                // the last line: total, time, rate; then silent. Without it the bar is wiped.
  std::string line(int64_t done, double seconds, int columns) const;  // what is drawn, for tests; columns 0 = no bar

 private:
  void update(int64_t done);
  std::string amount(double value) const;
  std::string label_, note_;
  int64_t total_;
  ProgressOptions options_;
  std::atomic<int64_t> done_{0};
  std::atomic<double> next_;
  double start_;
  bool terminal_, drawn_ = false, finished_ = false;
  mutable std::mutex mutex_;
};

}  // namespace hadal
