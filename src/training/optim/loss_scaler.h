// Dynamic loss scale (§3.6). FP16 flushes gradients below 2^-25 to zero and overflows at 65520:
// every loss is multiplied by S = 2^k before the backward pass, and gradients are divided by S, exactly, before norm
// and clip. S grows by `growth` after `growth_steps` steps without overflow. An overflow of gradients takes no update;
// the first hysteresis - 1 of them are only counted, each later one lowers S by `backoff`, until S grows again. An
// overflow that would lower S below its floor is no matter of scale: the run ends.
#pragma once
#include <cstdint>

#include "base/exec.h"
#include "config/config.h"
#include "nn/parameter.h"

namespace hadal {

class LossScaler {
 public:
  struct State {  // what a resumed run needs
    double scale = 1;
    int64_t clean_steps = 0;      // in a row, since the scale last changed or gradients last overflowed
    int64_t hysteresis_left = 0;  // overflows until the scale falls
    int64_t overflows = 0;        // in the run's life
    bool operator==(const State&) const = default;
    template <class Self, class Visitor>
    static void visit(Self& s, Visitor&& v) {
      v("scale", s.scale), v("clean_steps", s.clean_steps), v("hysteresis_left", s.hysteresis_left);
      v("overflows", s.overflows);
    }
  };
  // Whether a run of this configuration scales its losses.
  static bool is_used(const Config& config) {
    return config.train.precision == Precision::fp16 || config.loss_scale.use == LossScaleUse::always;
  }

  explicit LossScaler(const LossScaleConfig& config);  // at the beginning of a run

  double scale() const { return state_.scale; }
  const State& state() const { return state_; }
  // Goes on from there, within the limits of this configuration. Throws corrupt for what no run leaves behind.
  void set_state(const State& state);

  void clean_step();                             // the gradients were finite
  void overflow();                               // they were not: no update is made
  bool exhausted() const { return exhausted_; }  // the last overflow came at the floor, behind the hysteresis

 private:
  LossScaleConfig config_;
  State state_;
  bool exhausted_ = false;
};

// Gradients of losses that were multiplied by loss_scale become those of the losses themselves, in place. Training has
// no need of it: its norm and its update divide as they read (optim/optimizer.h).
void unscale_gradients(const Exec& exec, const Parameters& parameters, double loss_scale);

}  // namespace hadal
