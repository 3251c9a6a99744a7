// Optimizer: AdamW over a model's parameters (fused, decoupled decay), global gradient norm, clipping, and the moving
// average of weights. Knows Parameter, not the model. Exempt from weight decay: norms (spec.decayed). Exempt from
// everything: the router's bias (spec.trained), which moves by its own rule. Adam's epsilon, the exemptions and the
// EMA's decay are not published; these are our choices.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"
#include "nn/parameter.h"

namespace hadal {

struct GradientNorms {
  double global = 0;              // sqrt of the sum of squares of all gradients, before clipping
  std::vector<double> per_layer;  // by spec.layer; the last entry is embedding, final norm and head
  std::string not_finite;         // first parameter with a NaN or Inf in its gradient, empty if none
};

struct StateTensor {
  std::string name;  // "m.NAME", "v.NAME", "ema.NAME", NAME as in the parameter list
  Tensor tensor;
};

class Optimizer {
 public:
  Optimizer(const Parameters& parameters, const OptimConfig& config, const Exec& exec);

  GradientNorms gradient_norms() const;
  // One update with this learning rate; gradients are scaled by min(1, clip / norm). Counts the step for bias
  // correction.
  void step(double lr, double global_norm);

  int64_t steps_done() const { return steps_; }
  void set_steps_done(int64_t steps) { steps_ = steps; }
  std::vector<StateTensor> state() const;  // views, to be saved or filled
  bool has_ema() const { return config_.ema_decay > 0; }
  static int64_t bytes_per_element(const OptimConfig& config, bool master_is_value);  // moments, EMA, separate master

 private:
  struct Slot {
    Parameter* parameter;
    Tensor m, v, ema;
  };
  OptimConfig config_;
  Exec exec_;
  std::vector<Slot> slots_;
  int64_t steps_ = 0;
};

}  // namespace hadal
