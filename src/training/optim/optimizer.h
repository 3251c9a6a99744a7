// Optimizer: AdamW over a model's parameters (fused, decoupled decay), global gradient norm, clipping, and the moving
// average of weights. Knows Parameter, not the model. Exempt from weight decay: norms (spec.decayed). Exempt from
// everything: the router's bias (spec.trained), which moves by its own rule. Adam's epsilon, the exemptions and the
// EMA's decay are not published; these are our choices.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/exact_sum.h"
#include "config/config.h"
#include "optim/sharding.h"

namespace hadal {

namespace ops {
struct StepControl;
}

// Sums of squares of gradients, without rounding beyond lines of 128 columns (kernels/elementwise.h): they may be
// merged over ranks that own other parts of the parameters, and give one norm whatever the cut.
// Gradients that hold NaN or Inf. These go down through the backward pass, so of several parameters the last one of the
// list is named: there the pass met them first.
struct NotFiniteGradient {
  std::string parameter;  // empty: all are finite
  int64_t number = -1, layer = -1;
  explicit operator bool() const { return !parameter.empty(); }
  std::string text() const;  // "layer 3 (layers.3.attention.o)"
};

struct GradientSquares {
  ExactSum total;
  std::map<int64_t, ExactSum> per_layer;  // by spec.layer; -1 is embedding, final norm and head
  NotFiniteGradient not_finite;
  void note(const NotFiniteGradient& found);
  void merge(const GradientSquares& other);
};

struct GradientNorms {
  double global = 0;              // sqrt of the sum of squares of all gradients, before clipping
  std::vector<double> per_layer;  // by spec.layer; the last entry is embedding, final norm and head
  NotFiniteGradient not_finite;
};
// Of gradients of losses that were multiplied by loss_scale, a power of two: those of the losses themselves.
GradientNorms norms_of(const GradientSquares& squares, double loss_scale = 1);

std::vector<OwnedRange> whole_parameters(const Parameters& parameters);  // of all that are trained

struct StateTensor {
  std::string name;  // "m.NAME", "v.NAME", "ema.NAME", NAME as in the parameter list
  Tensor tensor;
  OwnedRange range;  // that the tensor is of
};

class Optimizer {
 public:
  Optimizer(const Parameters& parameters, const OptimConfig& config, const Exec& exec)
      : Optimizer(whole_parameters(parameters), config, exec) {}
  // Of what this rank owns. The sharding outlives the optimizer.
  Optimizer(Sharding& sharding, const OptimConfig& config, const Exec& exec)
      : Optimizer(sharding.owned(), config, exec) {
    sharding_ = &sharding;
  }
  Optimizer(const std::vector<OwnedRange>& owned, const OptimConfig& config, const Exec& exec);

  Sharding* sharding() const { return sharding_; }           // null: this rank updates what it was given, alone
  GradientSquares gradient_squares(const Exec& exec) const;  // of what this rank owns
  GradientNorms gradient_norms(const Exec& exec, double loss_scale = 1) const;  // over all ranks, the same on each
  // One update with this learning rate; gradients are scaled by min(1, clip / norm), and divided by loss_scale. Counts
  // the step for bias correction.
  void step(const Exec& exec, double lr, double global_norm, double loss_scale = 1);

  // On a device that one rank has for itself the update need not wait for the norms: update_behind_norms() makes both
  // with one wait behind them. Where a gradient is not finite, nothing was updated and no step counted.
  bool updates_behind_norms(const Exec& exec) const { return exec.memory->device() != nullptr && !sharding_; }
  GradientNorms update_behind_norms(const Exec& exec, double lr, double loss_scale = 1);

  int64_t steps_done() const { return steps_; }
  void set_steps_done(int64_t steps) { steps_ = steps; }
  std::vector<StateTensor> state() const;  // views of what this rank keeps, to be saved or filled
  DType moment_dtype(DType wide) const;    // of parameters whose masters are of this one
  bool has_ema() const { return config_.ema_decay > 0; }
  static int64_t bytes_per_element(const OptimConfig& config, bool master_is_value);  // moments, EMA, separate master

 private:
  struct Slot {
    OwnedRange range;
    Tensor m, v, ema;  // [count]; of a whole parameter in its shape
  };
  void refresh_forms(const Exec& exec) const;
  Tensor sums_of_squares(const Exec& exec) const;  // by slot, where the gradients lie
  GradientSquares squares_of(const Exec& exec, const Tensor& sums) const;
  // control: of a device, or null, and then gradients are multiplied by grad_scale.
  void update(const Exec& exec, double lr, double grad_scale, ops::StepControl* control);

  OptimConfig config_;
  Sharding* sharding_ = nullptr;
  std::vector<Slot> slots_;
  int64_t steps_ = 0;
};

}  // namespace hadal
