#include "study/gradient_errors.h"

#include "proof/squares.h"
#include "train/micro_batches.h"

namespace hadal {
namespace {

std::string kind_of(const ParameterSpec& spec) {
  if (spec.layer < 0) return spec.name;
  const std::string prefix = fmt::format("layers.{}.", spec.layer);
  return spec.name.starts_with(prefix) ? spec.name.substr(prefix.size()) : spec.name;
}

Squares squares_of(const Tensor& gradient, const Tensor& reference) {
  Squares s;
  const auto of = [&](const auto* g, const double* r) {
    for (int64_t i = 0; i < reference.count(); ++i) s.take(double(g[i]), r[i]);
  };
  if (gradient.dtype() == DType::f64) {
    of(gradient.data<double>(), reference.data<double>());
  } else {
    of(gradient.data<float>(), reference.data<double>());
  }
  return s;
}

double loss_of(const LossSums& sums) { return sums.main_count > 0 ? sums.main / double(sums.main_count) : 0; }

}  // namespace

LossWeights mean_weights(const MicroBatch& batch, int64_t n_mtp, double lambda) {
  const std::vector<int64_t> targets = count_targets({batch}, n_mtp);
  LossWeights weights;
  weights.main = 1.0 / double(std::max<int64_t>(1, targets[0]));
  for (int64_t k = 1; k <= n_mtp; ++k)
    weights.mtp.push_back(lambda / double(n_mtp) / double(std::max<int64_t>(1, targets[size_t(k)])));
  return weights;
}

void copy_weights(const Exec& exec, const Transformer& from, Transformer& to) {
  for (const Parameter* parameter : from.parameters()) {
    const Tensor& source = parameter->master ? parameter->master : parameter->value.plain;
    to.parameter(parameter->spec.name).master.copy_from(exec, source);
  }
  to.refresh_values(exec);
}

GradientReference::GradientReference(const ModelConfig& config, const Exec& exec, const MicroBatch& batch,
                                     double lambda)
    : exec_(exec), batch_(batch), weights_(mean_weights(batch, config.n_mtp, lambda)) {
  ModelOptions options;
  options.precision = Precision::fp64;
  options.training = true;
  model_ = std::make_unique<Transformer>(config, options, exec);
}

void GradientReference::scale_losses(double scale) {
  weights_.main *= scale;
  for (double& weight : weights_.mtp) weight *= scale;
}

GradientErrors GradientReference::errors_of(Transformer& model) {
  RouteReplay routes;
  model.begin_step(1);
  const LossSums sums = model.forward_backward(exec_, batch_, weights_, &routes);
  copy_weights(exec_, model, *model_);
  routes.replay = true;
  model_->begin_step(1);
  const LossSums exact = model_->forward_backward(exec_, batch_, weights_, &routes);
  GradientErrors errors;
  std::map<std::string, Squares> kinds;
  Squares all;
  for (const Parameter* parameter : model_->parameters()) {
    if (!parameter->grad) continue;
    const Squares of = squares_of(model.parameter(parameter->spec.name).grad, parameter->grad);
    kinds[kind_of(parameter->spec)].add(of);
    all.add(of);
  }
  errors.all = all.error();
  for (const auto& [kind, of] : kinds) errors.by_kind[kind] = of.error();
  errors.loss = loss_of(sums), errors.loss_in_fp64 = loss_of(exact);
  return errors;
}

}  // namespace hadal
