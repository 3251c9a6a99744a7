// AdamW over all trained parameters.
#include "optim/optimizer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/pointwise.h"

namespace hadal {

Optimizer::Optimizer(const Parameters& parameters, const OptimConfig& config, const Exec& exec)
    : config_(config), exec_(exec) {
  for (Parameter* parameter : parameters) {
    if (!parameter->spec.trained) continue;
    check(bool(parameter->grad), ErrorKind::internal, "parameter {} has no gradient to train with",
          parameter->spec.name);
    const DType high = parameter->master.dtype();
    const DType moments = high == DType::f64 ? DType::f64 : (config.moments == "bf16" ? DType::bf16 : DType::f32);
    Slot slot{parameter,
              Tensor::zeros(exec, moments, parameter->spec.shape),
              Tensor::zeros(exec, moments, parameter->spec.shape),
              {}};
    if (has_ema()) slot.ema = parameter->master.clone(exec);
    slots_.push_back(std::move(slot));
  }
}

GradientNorms Optimizer::gradient_norms() const {
  GradientNorms norms;
  int64_t layers = 0;
  for (const auto& slot : slots_) layers = std::max(layers, slot.parameter->spec.layer + 1);
  // Exact sums of lines: the norm has one value however parameters are ordered or cut (kernels/elementwise.h).
  ExactSum total;
  std::vector<ExactSum> per_layer(size_t(layers) + 1);
  for (const auto& slot : slots_) {
    const auto& parameter = *slot.parameter;
    ExactSum squares;
    ops::add_squares(exec_, parameter.grad, squares);
    if (!std::isfinite(squares.value()) && norms.not_finite.empty() && !ops::all_finite(exec_, parameter.grad)) {
      norms.not_finite = parameter.spec.name;
    }
    total.merge(squares);
    per_layer[size_t(parameter.spec.layer < 0 ? layers : parameter.spec.layer)].merge(squares);
  }
  for (const ExactSum& squares : per_layer) norms.per_layer.push_back(std::sqrt(squares.value()));
  norms.global = std::sqrt(total.value());
  return norms;
}

void Optimizer::step(double lr, double global_norm) {
  const double scale = config_.clip > 0 && global_norm > config_.clip ? config_.clip / global_norm : 1.0;
  ++steps_;
  for (auto& slot : slots_) {
    auto& parameter = *slot.parameter;
    ops::AdamWArgs args;
    args.w = parameter.master;
    args.grad = parameter.grad;
    args.m = slot.m;
    args.v = slot.v;
    if (parameter.value.raw() != parameter.master.raw()) args.value = parameter.value;
    args.ema = slot.ema;
    args.lr = lr;
    args.beta1 = config_.beta1;
    args.beta2 = config_.beta2;
    args.eps = config_.eps;
    args.weight_decay = parameter.spec.decayed ? config_.weight_decay : 0.0;
    args.grad_scale = scale;
    args.ema_decay = config_.ema_decay;
    args.step = steps_;
    ops::adamw(exec_, args);
  }
}

std::vector<StateTensor> Optimizer::state() const {
  std::vector<StateTensor> tensors;
  for (const auto& slot : slots_) {
    const auto& name = slot.parameter->spec.name;
    tensors.push_back({"m." + name, slot.m});
    tensors.push_back({"v." + name, slot.v});
    if (slot.ema) tensors.push_back({"ema." + name, slot.ema});
  }
  return tensors;
}

int64_t Optimizer::bytes_per_element(const OptimConfig& config, bool master_is_value) {
  return (config.moments == "bf16" ? 4 : 8) + (config.ema_decay > 0 ? 4 : 0) + (master_is_value ? 0 : 4);
}

}  // namespace hadal
