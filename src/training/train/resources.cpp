// Memory and speed of this machine for this run.
#include "train/resources.h"

#include <algorithm>
#include <map>
#include <optional>

#include "arch/arch.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/open_device.h"
#include "base/random.h"
#include "base/table.h"
#include "base/text_format.h"
#include "nn/init.h"
#include "nn/norm.h"
#include "ops/matmul.h"
#include "optim/optimizer.h"

namespace hadal {

int64_t micro_batches_each(const Config& config, int64_t sequences) {
  const int64_t at_once = std::max<int64_t>(1, config.train.micro_batch_sequences) * config.parallel.dp;
  return (sequences + at_once - 1) / at_once;
}

Recompute chosen_recompute(const TrainConfig& config) {
  if (config.recompute != Recompute::automatic) return config.recompute;
  return is_fp8(config.precision) ? Recompute::norms : Recompute::none;
}

ModelOptions model_options(const Config& config, bool training) {
  ModelOptions options;
  options.precision = config.train.precision;
  options.attention_form = config.train.attention_form;
  options.recompute = chosen_recompute(config.train);
  options.training = training;
  options.recipe = recipe_of(config.train.precision, config.fp8);
  return options;
}

namespace {

// What one of this many holders keeps of a parameter's box.
void add_parameter(const Config& config, const ModelOptions& options, const Parameter& parameter, int64_t n_holders,
                   MemoryPlan& plan) {
  const DType dtype = activation_dtype(options.precision);
  const ParameterBytes bytes = parameter_bytes(parameter, dtype, true, n_holders);
  plan.weights += bytes.values;
  if (!parameter.spec.trained) return;
  plan.gradients += bytes.gradient;
  const int64_t high = dtype_bytes(statistics_dtype(dtype)) / 4;
  plan.optimizer += high * parameter.box.count() * Optimizer::bytes_per_element(config.optim, true) / n_holders;
}

}  // namespace

std::vector<std::pair<std::string, int64_t>> MemoryPlan::parts() const {
  return {{"weights and masters", weights},
          {"gradients", gradients},
          {"activations and workspace", activations},
          {"moments and EMA", optimizer},
          {"blocks that wait for their next use", spare},
          {"checkpoint copy", checkpoint_copy},
          {"program", program}};
}

MemoryPlan plan_rank_memory(const Config& config, const ModelOptions& options, const Placement& placement, int64_t rank,
                            int n_threads) {
  MemoryPlan plan;
  std::map<std::string, int64_t> n_holders;
  ModelShare share;
  share.box = [&](const ParameterSpec& spec) -> std::optional<Box> {
    const auto holding = placement.holding_of(spec, rank);
    if (!holding) return std::nullopt;
    n_holders[spec.name] = int64_t(holding->ranks.size());
    return holding->box;
  };
  share.stages = placement.stages_of(rank);
  ModelOptions bare = options;
  bare.bare = true;
  const Transformer model(config.model, bare, Exec(), share);
  for (const Parameter* parameter : model.parameters())
    add_parameter(config, options, *parameter, n_holders[parameter->spec.name], plan);
  const int64_t micro = std::max<int64_t>(1, config.train.micro_batch_sequences);
  const int64_t n = micro_batches_each(config, config.train.batch_sequences);
  const Actions actions = make_plan(placement.pipeline(n)).ranks[size_t(placement.mesh().seat(rank).pipeline)];
  plan.activations = model.moving_bytes(micro * config.data.sequence_length, config.data.sequence_length, n_threads,
                                        actions, {placement.mesh().sizes().tp, placement.mesh().sizes().cp});
  plan.spare = plan.activations / 8;
  return plan;
}

MemoryPlan plan_memory(const Config& config, const ModelOptions& options, int n_threads) {
  const Placement placement(config.model, config.parallel);
  MemoryPlan plan;
  // Ranks of one pipeline seat hold equally much: one of them speaks for all.
  const int64_t n_each = placement.mesh().stage_ranks();
  for (int64_t seat = 0; seat < config.parallel.pp; ++seat) {
    const MemoryPlan one = plan_rank_memory(config, options, placement, seat * n_each, n_threads);
    plan.weights += n_each * one.weights, plan.gradients += n_each * one.gradients;
    plan.optimizer += n_each * one.optimizer, plan.activations += n_each * one.activations;
    plan.spare += n_each * one.spare;
  }
  const auto counts = count_parameters(config.model);
  const int64_t wide = statistics_dtype(activation_dtype(options.precision)) == DType::f64 ? 8 : 4;
  const int64_t state = (counts.total + counts.mtp) * wide * (4 + Optimizer::bytes_per_element(config.optim, true)) / 4;
  if (config.checkpoint.asynchronous) plan.checkpoint_copy = state;
  return plan;
}

Precision chosen_precision(Precision asked, const Exec& exec) {
  check_precision(asked, exec);
  if (asked != Precision::automatic) return asked;
  return exec.device.kind != DeviceKind::cpu || exec.isa >= Isa::avx512_bf16 ? Precision::bf16 : Precision::fp32;
}

// Beside a device the copy for a checkpoint and the program are the host's.
int64_t needed_there(const MemoryPlan& plan, const Exec& exec) {
  return exec.memory->device() ? plan.in_use() + plan.spare : plan.total();
}

namespace {

// What needs how much, the largest first.
std::string needs_table(const MemoryPlan& plan, bool device) {
  auto parts = plan.parts();
  std::stable_sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  Table table({"what", "bytes"});
  for (const auto& [name, bytes] : parts) {
    const bool of_host = name == "checkpoint copy" || name == "program";
    if (bytes > 0 && !(device && of_host)) table.add({name, format_bytes(double(bytes))});
  }
  return table.text();
}

// What a program cannot have because another one has it.
std::string held_by_others(const OpenDevice& device) {
  const DeviceInfo info = device.info();
  const int64_t held = info.total_bytes - info.free_bytes;
  if (held < info.total_bytes / 20) return "";  // the driver's own, about
  return fmt::format(", {} of whose {} are in use", format_bytes(double(held)), format_bytes(double(info.total_bytes)));
}

}  // namespace

void resolve(Config& config, int64_t tokenizer_vocab, const Exec& exec, uint64_t available_bytes,
             const std::function<void(const std::string&)>& say) {
  if (config.model.vocab_size == 0) config.model.vocab_size = tokenizer_vocab;
  check(config.model.vocab_size >= tokenizer_vocab, ErrorKind::invalid,
        "model.vocab_size = {} is smaller than the tokenizer's {} ids; raise it or set it to 0",
        config.model.vocab_size, tokenizer_vocab);
  config.train.precision = chosen_precision(config.train.precision, exec);
  config.train.recompute = chosen_recompute(config.train);
  if (is_fp8(config.train.precision)) config.fp8.tile = fp8_tile(config.train.precision, config.fp8);
  const auto options = model_options(config, true);
  const bool choose = config.train.micro_batch_sequences == 0;
  if (choose) {
    // As many micro-batches as keep all ranks of the layout at work.
    const ParallelConfig& p = config.parallel;
    const int64_t least = p.pp > 1 ? 2 * p.pp : 1;
    config.train.micro_batch_sequences = std::clamp<int64_t>(
        4096 / config.data.sequence_length, 1, std::max<int64_t>(1, config.train.batch_sequences / (p.dp * least)));
    while (config.train.micro_batch_sequences > 1 &&
           double(needed_there(plan_memory(config, options, exec.compute->n_threads()), exec)) >
               0.8 * double(available_bytes)) {
      config.train.micro_batch_sequences /= 2;
    }
  }
  const auto plan = plan_memory(config, options, exec.compute->n_threads());
  if (uint64_t(needed_there(plan, exec)) <= available_bytes) return;
  const bool device = exec.memory->device() != nullptr;
  if (say) say("what this run needs, by part:\n" + needs_table(plan, device));
  const auto text = [](int64_t bytes) { return format_bytes(double(bytes)); };
  fail(ErrorKind::invalid,
       "this run needs about {} of memory ({} weights, gradients and activations, {} optimizer{}), {} are available{}: "
       "use a smaller model, train.micro_batch_sequences = 1, {}",
       text(needed_there(plan, exec)), text(plan.weights + plan.gradients + plan.activations), text(plan.optimizer),
       device ? "" : fmt::format(", {} for checkpoints", text(plan.checkpoint_copy)), text(int64_t(available_bytes)),
       device ? " on " + device_name(exec.device) + held_by_others(*exec.memory->device()) : "",
       device ? "or train.recompute = \"all\"" : "train.recompute = \"all\", or checkpoint.asynchronous = false");
}

namespace {

// Numbers as products meet them (zeros, which switch no transistor, would be faster), in rows that repeat.
Tensor random_square(const Exec& exec, DType dtype, int64_t n, uint64_t seed) {
  constexpr int64_t kRows = 64;
  std::vector<float> values(size_t(kRows * n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(2 * random_uniform(seed, 1, i) - 1);
  const Tensor rows = Tensor::from(exec, values, {kRows, n}), square = Tensor::empty(exec, dtype, {n, n});
  for (int64_t row = 0; row < n; row += kRows) square.row_range(row, kRows).copy_from(exec, rows);
  return square;
}

// FLOP/s of a product of this size; seconds: that it took. Nothing, where the memory does not suffice for one. The
// first call loads the kernel and warms the card.
std::optional<double> device_flops(const Exec& exec, DType dtype, int64_t n, double& seconds) {
  OpenDevice& device = *exec.memory->device();
  try {
    const Tensor a = random_square(exec, dtype, n, 1), b = random_square(exec, dtype, n, 2),
                 c = Tensor::empty(exec, dtype, {n, n});
    ops::linear(exec, c, a, b);
    device.wait();
    const double start = steady_seconds();
    ops::linear(exec, c, a, b);
    device.wait();
    seconds = std::max(1e-9, steady_seconds() - start);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::out_of_memory) return std::nullopt;
    throw;
  }
  return 2.0 * double(n) * double(n) * double(n) / seconds;
}

// Queued work is timed between two waits, and products grow until one takes a while, or the memory is full: the run
// was told that its own fits. 0: not even the smallest does.
double measure_device_flops(const Exec& exec, DType dtype) {
  double best = 0, seconds = 0;
  for (int64_t n = 128; n <= 8192 && seconds < 5e-3; n *= 2) {
    const auto flops = device_flops(exec, dtype, n, seconds);
    if (!flops) break;
    best = *flops;
  }
  return best;
}

}  // namespace

double measure_product_flops(const Exec& exec, Precision precision) {
  const int64_t n = precision == Precision::fp64 ? 192 : 768;
  const DType dtype = activation_dtype(precision);
  if (exec.memory->device()) return measure_device_flops(exec, dtype);
  const Tensor a = Tensor::zeros(exec, dtype, {n, n}), b = Tensor::zeros(exec, dtype, {n, n}),
               c = Tensor::zeros(exec, dtype, {n, n});
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const double start = steady_seconds();
    ops::linear(exec, c, a, b);
    best = std::max(best, 2.0 * double(n) * double(n) * double(n) / std::max(1e-9, steady_seconds() - start));
  }
  return best;
}

}  // namespace hadal
