// PartClock: how long each part of a step takes, for the report's breakdown. At any moment exactly one part is running;
// a scope switches to its part and back, so nested scopes count once. Costs two clock readings per scope.
#pragma once
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace hadal {

enum class Part {
  other,
  embedding,
  norms,
  attention,
  router,
  dispatch,
  experts,
  shared_experts,
  dense_ffn,
  head_loss,
  mtp
};
constexpr int kPartCount = 11;
const char* part_name(Part part);

class PartClock {
 public:
  class Scope {
   public:
    Scope(PartClock& clock, Part part) : clock_(clock), before_(clock.current_) { clock_.change(part); }
    ~Scope() { clock_.change(before_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    PartClock& clock_;
    Part before_;
  };

  // Inside an MTP module everything but its head counts as MTP.
  void hold(bool on) { held_ = on, change(on ? Part::mtp : Part::other); }
  std::vector<std::pair<std::string, double>> take();  // since the last call; parts that ran
  void start() { since_ = steady_seconds(), current_ = Part::other, held_ = false; }
  void stop() { held_ = false, change(Part::other); }

 private:
  void change(Part part) {
    if (held_ && part != Part::head_loss) part = Part::mtp;
    const double now = steady_seconds();
    seconds_[size_t(current_)] += now - since_;
    since_ = now;
    current_ = part;
  }
  std::array<double, kPartCount> seconds_{};
  Part current_ = Part::other;
  double since_ = 0;
  bool held_ = false;
};

}  // namespace hadal
