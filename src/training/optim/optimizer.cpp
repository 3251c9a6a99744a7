// AdamW over all trained parameters.
#include "optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "comm/byte_text.h"
#include "nn/init.h"
#include "ops/step_control.h"
#include "ops/weight.h"

namespace hadal {

namespace {

// Squares of elements [begin, end) of a gradient, whose lines begin with its rows.
void add_squares_of(const Exec& exec, const OwnedRange& range, const Tensor& sum) {
  const Tensor& grad = range.parameter->grad;
  const int64_t cols = grad.cols();
  int64_t at = range.begin;
  while (at < range.end) {
    const int64_t row = at / cols, col = at % cols;
    const int64_t rows = col == 0 ? (range.end - at) / cols : 0;  // whole ones
    const int64_t n = std::min(cols - col, range.end - at);       // else a part of one
    ops::add_squares(exec, rows > 0 ? grad.row_range(row, rows) : grad.row_range(row, 1).col_range(col, n), sum);
    at += rows > 0 ? rows * cols : n;
  }
}

}  // namespace

std::vector<OwnedRange> whole_parameters(const Parameters& parameters) {
  std::vector<OwnedRange> ranges;
  for (Parameter* parameter : parameters)
    if (parameter->spec.trained) ranges.push_back({parameter, 0, parameter->box.count()});
  return ranges;
}

std::string NotFiniteGradient::text() const {
  return layer < 0 ? parameter : fmt::format("layer {} ({})", layer, parameter);
}

void GradientSquares::note(const NotFiniteGradient& found) {
  if (found && found.number >= not_finite.number) not_finite = found;
}

void GradientSquares::merge(const GradientSquares& other) {
  total.merge(other.total);
  for (const auto& [layer, sum] : other.per_layer) per_layer[layer].merge(sum);
  note(other.not_finite);
}

// Squares of gradients are scaled by S^2, roots by S: both exactly, as S is a power of two.
GradientNorms norms_of(const GradientSquares& squares, double loss_scale) {
  GradientNorms norms;
  const int64_t layers = squares.per_layer.empty() ? 0 : squares.per_layer.rbegin()->first + 1;
  norms.per_layer.assign(size_t(layers) + 1, 0.0);
  for (const auto& [layer, sum] : squares.per_layer)
    norms.per_layer[size_t(layer < 0 ? layers : layer)] = std::sqrt(sum.value()) / loss_scale;
  norms.global = std::sqrt(squares.total.value()) / loss_scale;
  norms.not_finite = squares.not_finite;
  return norms;
}

Optimizer::Optimizer(const std::vector<OwnedRange>& owned, const OptimConfig& config, const Exec& exec)
    : config_(config) {
  for (const OwnedRange& range : owned) {
    const Parameter& parameter = *range.parameter;
    check(bool(parameter.grad), ErrorKind::internal, "parameter {} has no gradient to train with", parameter.spec.name);
    const DType high = range.master().dtype();
    check(high != DType::f64 || config.moments != MomentFormat::bf16, ErrorKind::invalid,
          "optim.moments = \"bf16\", but parameter {} is FP64, and so are its moments", parameter.spec.name);
    const DType moments = moment_dtype(high);
    const Shape shape = range.is_whole() ? parameter.box.size : Shape{range.count()};
    Slot slot{range, Tensor::zeros(exec, moments, shape), Tensor::zeros(exec, moments, shape), {}};
    if (has_ema()) slot.ema = range.master().clone(exec);
    slots_.push_back(std::move(slot));
  }
}

// The ranks' squares, on every rank: exact sums are added limb by limb, so that the norm is the same in every layout.
GradientSquares over_ranks(const GradientSquares& own, Group& group) {
  ByteWriter writer;
  writer(own.total), writer(int64_t(own.per_layer.size()));
  for (const auto& [layer, sum] : own.per_layer) writer(layer), writer(sum);
  writer(own.not_finite.number), writer(own.not_finite.layer);
  writer(std::vector<char>(own.not_finite.parameter.begin(), own.not_finite.parameter.end()));
  GradientSquares all;
  for (const std::string& sent : group.exchange(writer.text)) {
    ByteReader reader(sent);
    GradientSquares part;
    int64_t layers = 0, layer = 0;
    reader(part.total), reader(layers);
    for (int64_t i = 0; i < layers; ++i) reader(layer), reader(part.per_layer[layer]);
    std::vector<char> name;
    reader(part.not_finite.number), reader(part.not_finite.layer), reader(name);
    part.not_finite.parameter.assign(name.begin(), name.end());
    all.merge(part);
  }
  return all;
}

GradientNorms Optimizer::gradient_norms(const Exec& exec, double loss_scale) const {
  const GradientSquares own = gradient_squares(exec);
  return norms_of(sharding_ ? over_ranks(own, sharding_->world()) : own, loss_scale);
}

GradientSquares Optimizer::gradient_squares(const Exec& exec) const { return squares_of(exec, sums_of_squares(exec)); }

Tensor Optimizer::sums_of_squares(const Exec& exec) const {
  const Tensor sums = ops::exact_sums(exec, int64_t(slots_.size()));
  for (size_t i = 0; i < slots_.size(); ++i) add_squares_of(exec, slots_[i].range, sums.row_range(int64_t(i), 1));
  return sums;
}

GradientSquares Optimizer::squares_of(const Exec& exec, const Tensor& sums) const {
  GradientSquares squares;
  const Tensor on_host = host_copy(sums);  // one wait for a device
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    const Parameter& parameter = *slot.range.parameter;
    const ExactSum sum = ops::exact_sum(on_host, int64_t(i));
    if (!std::isfinite(sum.value()) && !ops::all_finite(exec, slot.range.of(parameter.grad)))
      squares.note({parameter.spec.name, parameter.spec.number, parameter.spec.layer});
    squares.total.merge(sum);
    squares.per_layer[parameter.spec.layer].merge(sum);
  }
  return squares;
}

// g := g * min(1, clip / ||g||), the norm over all parameters (§2.3): the direction stays, its length is bounded. The
// factor goes into AdamW's pass, with what undoes the loss scale: scaled gradients are never written.
void Optimizer::step(const Exec& exec, double lr, double global_norm, double loss_scale) {
  const double clip = config_.clip > 0 && global_norm > config_.clip ? config_.clip / global_norm : 1.0;
  update(exec, lr, clip / loss_scale, nullptr);
}

GradientNorms Optimizer::update_behind_norms(const Exec& exec, double lr, double loss_scale) {
  const Tensor sums = sums_of_squares(exec);
  ops::StepControl control{Tensor::empty(exec, DType::f64, {2}), sums, config_.clip, loss_scale};
  update(exec, lr, 0, &control);
  const GradientNorms norms = norms_of(squares_of(exec, sums), loss_scale);
  if (!std::isfinite(norms.global)) --steps_;  // the device has seen it too
  return norms;
}

void Optimizer::update(const Exec& exec, double lr, double grad_scale, ops::StepControl* control) {
  if (sharding_) sharding_->await_values(exec);  // of parameters that no micro-batch has read
  ++steps_;
  for (Slot& slot : slots_) {
    const Parameter& parameter = *slot.range.parameter;
    ops::AdamWArgs args;
    args.w = slot.range.master();
    args.grad = slot.range.of(parameter.grad);
    args.m = slot.m;
    args.v = slot.v;
    if (parameter.value.plain.raw() != parameter.master.raw()) args.value = slot.range.of(parameter.value.plain);
    args.ema = slot.ema;
    args.lr = lr;
    args.beta1 = config_.beta1;
    args.beta2 = config_.beta2;
    args.eps = config_.eps;
    args.weight_decay = parameter.spec.decayed ? config_.weight_decay : 0.0;
    args.grad_scale = grad_scale;
    args.ema_decay = config_.ema_decay;
    args.step = steps_;
    if (!control) {
      ops::adamw(exec, args);
      continue;
    }
    ops::adamw(exec, args, *control);
    control->squares.reset();  // the first update has read them
  }
  if (sharding_) sharding_->send_values();
  refresh_forms(exec);
}

// Once per step: products of the next one find the other forms (codes) as new as the values. Of those that come from
// other ranks too, when they have arrived; but codes that tensor ranks make together are awaited here, where all do so.
void Optimizer::refresh_forms(const Exec& exec) const {
  std::vector<Parameter*> together;
  if (sharding_) together = sharding_->trained();
  const Parameter* before = nullptr;  // ranges of one parameter follow one another
  for (const Slot& slot : slots_) {
    Parameter* parameter = slot.range.parameter;
    if (std::exchange(before, parameter) == parameter) continue;
    if (!sharding_) together.push_back(parameter);
    if (parameter->shares_codes() || (sharding_ && !slot.range.is_whole())) continue;
    parameter->codes ? refresh_value(exec, *parameter) : ops::refresh(exec, parameter->value);
  }
  for (Parameter* parameter : together) {
    if (!parameter->shares_codes()) continue;
    if (parameter->await_value) parameter->await_value(exec);
    refresh_value(exec, *parameter);
  }
}

std::vector<StateTensor> Optimizer::state() const {
  std::vector<StateTensor> tensors;
  for (const auto& slot : slots_) {
    const auto& name = slot.range.parameter->spec.name;
    tensors.push_back({"m." + name, slot.m, slot.range});
    tensors.push_back({"v." + name, slot.v, slot.range});
    if (slot.ema) tensors.push_back({"ema." + name, slot.ema, slot.range});
  }
  return tensors;
}

DType Optimizer::moment_dtype(DType wide) const {
  return wide == DType::f64 || config_.moments == MomentFormat::fp32 ? wide : DType::bf16;
}

int64_t Optimizer::bytes_per_element(const OptimConfig& config, bool master_is_value) {
  return (config.moments == MomentFormat::bf16 ? 4 : 8) + (config.ema_decay > 0 ? 4 : 0) + (master_is_value ? 0 : 4);
}

}  // namespace hadal
