// Time: a steady clock for measuring, the wall clock for dates.
#pragma once
#include <atomic>
#include <string>

namespace hadal {

double steady_seconds();  // since some fixed moment of this process; never goes back

// Adds to a sum how long a scope took, also where it was left by a throw.
class AddSeconds {
 public:
  explicit AddSeconds(std::atomic<double>& sum) : sum_(sum) {}
  ~AddSeconds() { sum_ += steady_seconds() - begin_; }
  AddSeconds(const AddSeconds&) = delete;
  AddSeconds& operator=(const AddSeconds&) = delete;

 private:
  std::atomic<double>& sum_;
  double begin_ = steady_seconds();
};

std::string format_duration(double seconds);  // "0.84s", "12.3s", "3m12s", "2h05m", "3d04h"
std::string iso_time();                       // now, UTC: "2026-01-31T12:34:56Z"
std::string clock_time();                     // now, local: "12:34:56"

}  // namespace hadal
