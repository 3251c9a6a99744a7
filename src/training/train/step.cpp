// The training step.
#include "train/step.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "model/timeline.h"
#include "nn/product_watch.h"
#include "optim/curves.h"
#include "train/micro_batches.h"
#include "train/not_finite.h"
#include "train/rank_losses.h"
#include "train/rank_place.h"

namespace hadal {

namespace {

// What turns sums into the global batch's means (§2.4): main 1 / targets, MTP depth k lambda / (D * targets_k), balance
// alpha / sequences, all times the loss scale; targets are counted by their weights. Known before the first forward, so
// every micro-batch adds its exact share, whatever its size.
struct WeightsOf {
  double lambda;
  int64_t sequences;
  double loss_scale;
};
LossWeights loss_weights(const Config& config, const std::vector<double>& targets, const WeightsOf& of) {
  LossWeights weights;
  weights.main = targets[0] > 0 ? of.loss_scale / targets[0] : 0.0;
  const int64_t depths = int64_t(targets.size()) - 1;
  for (int64_t k = 1; k <= depths; ++k) {
    weights.mtp.push_back(targets[k] > 0 ? of.loss_scale * of.lambda / (double(depths) * targets[k]) : 0.0);
  }
  weights.balance = of.sequences > 0 ? of.loss_scale * config.train.balance_alpha / double(of.sequences) : 0.0;
  return weights;
}

// What this rank does of a step.
RankPlace::Work work_of(const std::vector<MicroBatch>& parts, const RankPlace* place) {
  if (place) return place->training_work(parts);
  RankPlace::Work work{parts, {}, one_stage(int64_t(parts.size()))};
  for (size_t j = 0; j < parts.size(); ++j) work.numbers.push_back(int64_t(j));
  return work;
}

void finish_gradients(Sharding& sharding, Timeline* timeline) {
  const double begin = timeline ? timeline->now() : 0;
  sharding.finish_gradients();
  if (!timeline) return;
  timeline->events.push_back(
      {.piece = "gradients", .part = 'W', .traffic = true, .begin = begin, .end = timeline->now()});
}

double mean_of(double sum, double count) { return count > 0 ? sum / count : 0.0; }

void take_losses(const LossSums& sums, const std::vector<double>& targets, double loss_scale, StepResult& result) {
  result.loss = mean_of(sums.main, targets[0]);
  for (size_t k = 0; k < sums.mtp.size(); ++k) result.mtp_loss.push_back(mean_of(sums.mtp[k], targets[k + 1]));
  result.balance_loss = sums.balance / loss_scale;  // summed with its weight
  result.load = sums.expert_load;
  result.load_max_over_mean = load_imbalance(sums.expert_load);
}

// By domain, and the whole as what they add up to: so it does not depend on the order of sums either.
void take_domains(const LossSums& sums, const std::vector<MicroBatch>& parts, double weight, StepResult& result) {
  const std::vector<DomainTargets> targets = targets_by_domain(parts);
  ExactSum all;
  for (size_t d = 0; d < targets.size(); ++d) {
    const ExactSum one = d < sums.domains.size() ? sums.domains[d] : ExactSum();
    all.merge(one);
    result.domains.push_back({mean_of(one.value(), targets[d].weight), targets[d].count});
  }
  if (!targets.empty()) result.loss = mean_of(all.value(), weight);
}

// Empty when all is finite, else which loss is not.
std::string loss_not_finite(const StepResult& result) {
  if (!std::isfinite(result.loss)) return "the loss is not finite";
  for (size_t k = 0; k < result.mtp_loss.size(); ++k) {
    if (!std::isfinite(result.mtp_loss[k])) return fmt::format("the MTP loss of depth {} is not finite", k + 1);
  }
  if (!std::isfinite(result.balance_loss)) return "the balance loss is not finite";
  return "";
}

// The same of gradients.
std::string gradient_not_finite(const StepResult& result) {
  if (!result.norms.not_finite) return std::isfinite(result.norms.global) ? "" : "the gradient norm overflows";
  if (result.loss_scale == 0)
    return fmt::format("the gradient of {} holds NaN or Inf", result.norms.not_finite.parameter);
  return fmt::format("gradients overflow at a loss scale of {}, first in {}", result.loss_scale,
                     result.norms.not_finite.text());
}

// Of a step without an update because of its forward; where: what in it was not finite, if that is known.
std::string behind_forward(const std::string& found, const std::string& where, const StepResult& result) {
  const std::string why = where.empty() ? found : found + ": " + where;
  if (result.loss_scale == 0) return why;
  return why +
         fmt::format("; this came up in the forward, before any gradient, so that no loss scale cures it: it stays {}",
                     result.loss_scale);
}

// Every rank's scaler hears the same: norms are those of all ranks.
void tell(LossScaler& scaler, StepResult& result) {
  result.overflowed = !result.skipped.empty();
  result.overflowed ? scaler.overflow() : scaler.clean_step();
  result.overflows = scaler.state().overflows;
}

}  // namespace

double load_imbalance(const std::vector<std::vector<int64_t>>& load) {
  double worst = 0;
  for (const auto& layer : load) {
    const int64_t total = std::accumulate(layer.begin(), layer.end(), int64_t(0));
    if (total > 0)
      worst =
          std::max(worst, double(*std::max_element(layer.begin(), layer.end())) * double(layer.size()) / double(total));
  }
  return worst;
}

StepResult train_step(const Exec& exec, Transformer& model, Optimizer& optimizer, const Config& config,
                      const data::Batch& batch, int64_t step, const StepWants& wanted) {
  StepResult result;
  result.step = step;
  result.lr = learning_rate(config.optim, step, config.train.steps);
  result.lambda = config.model.n_mtp > 0 ? mtp_weight(config.train, step) : 0.0;
  result.gamma =
      config.model.selection_bias && config.model.n_routed_experts > 0 ? bias_speed(config.train, step) : 0.0;
  result.sequences = int64_t(batch.sequences.size());
  result.tokens = batch.n_tokens();
  result.dialogues = batch.has_dialogues(), result.padding = batch.n_padding(), result.epoch = batch.epoch();

  const auto parts = micro_batches(batch, config.train.micro_batch_sequences);
  result.targets = count_targets(parts, config.model.n_mtp)[0];
  if (result.targets == 0) {
    result.skipped = fmt::format("no token of this batch of {} sequences has a target", result.sequences);
    return result;
  }

  const double loss_scale = wanted.scaler ? wanted.scaler->scale() : 1.0;
  if (wanted.scaler) result.loss_scale = loss_scale, result.overflows = wanted.scaler->state().overflows;
  const auto weighted = weigh_targets(parts, config.model.n_mtp);
  const auto weights = loss_weights(config, weighted, {result.lambda, result.sequences, loss_scale});
  Sharding* sharding = optimizer.sharding();
  const auto work = work_of(parts, wanted.place);
  std::vector<RouteReplay> routes;
  if (wanted.routes) {
    wanted.routes->resize(parts.size());
    for (const int64_t j : work.numbers) routes.push_back(j < 0 ? RouteReplay() : (*wanted.routes)[size_t(j)]);
  }
  const Wants wants{.routes = routes, .clock = wanted.clock, .timeline = wanted.timeline};
  if (sharding) sharding->begin_step();
  model.begin_step(work.actions);
  const LossSums own_sums =
      model.forward_backward(with_watch(exec, wanted.watch), work.batches, weights, wants, &work.actions);
  if (sharding) finish_gradients(*sharding, wanted.timeline);
  const LossSums sums = wanted.place ? over_ranks(own_sums, wanted.place->world()) : own_sums;
  for (size_t i = 0; i < routes.size(); ++i)
    if (work.numbers[i] >= 0) (*wanted.routes)[size_t(work.numbers[i])] = std::move(routes[i]);
  const auto where = [&] { return where_not_finite(exec, model, parts, wanted.place); };
  // Where a router met NaN, numbers flowed on: the step is decided here, once.
  if (sums.fault) return result.skipped = behind_forward(sums.fault.text(), where(), result), result;
  take_losses(sums, weighted, loss_scale, result);
  take_domains(sums, parts, weighted[0], result);
  const std::string bad_loss = loss_not_finite(result);
  if (bad_loss.empty() && wanted.before_update) wanted.before_update();
  const bool updated = bad_loss.empty() && optimizer.updates_behind_norms(exec);  // unless a gradient is not finite
  result.norms =
      updated ? optimizer.update_behind_norms(exec, result.lr, loss_scale) : optimizer.gradient_norms(exec, loss_scale);
  if (!bad_loss.empty()) return result.skipped = behind_forward(bad_loss, where(), result), result;
  result.skipped = gradient_not_finite(result);
  if (wanted.scaler) tell(*wanted.scaler, result);
  if (!result.skipped.empty()) return result;

  if (!updated) optimizer.step(exec, result.lr, result.norms.global, loss_scale);
  if (result.gamma > 0) model.update_selection_bias(exec, sums.expert_load, result.gamma);
  const int64_t every = config.parallel.drift_steps;
  if (sharding && every > 0 && step % every == 0) sharding->check_replicas(exec);
  return result;
}

}  // namespace hadal
