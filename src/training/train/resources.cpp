// Memory and speed of this machine for this run.
#include "train/resources.h"

#include <algorithm>

#include "arch/arch.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/text_format.h"
#include "ops/matmul.h"
#include "optim/optimizer.h"

namespace hadal {

ModelOptions model_options(const Config& config, bool training) {
  ModelOptions options;
  options.precision = config.train.precision;
  options.attention_form = config.train.attention_form;
  options.recompute = config.train.recompute;
  options.training = training;
  return options;
}

MemoryPlan plan_memory(const Config& config, const ModelOptions& options, int n_threads) {
  MemoryPlan plan;
  const auto counts = count_parameters(config.model);
  const int64_t parameters = counts.total + counts.mtp;
  const int64_t micro = std::max<int64_t>(1, config.train.micro_batch_sequences);
  const int64_t n_ranks = config.parallel.ranks();  // all in this process; the optimizer is shared
  plan.weights_and_activations =
      n_ranks * Transformer::estimate_bytes(config.model, options, micro * config.data.sequence_length,
                                            config.data.sequence_length, n_threads);
  const int64_t high = options.precision == Precision::fp64 ? 2 : 1;
  plan.optimizer = high * parameters * Optimizer::bytes_per_element(config.optim, true);
  if (config.checkpoint.asynchronous) plan.checkpoint_copy = plan.optimizer + high * parameters * 4;
  return plan;
}

Precision chosen_precision(Precision asked, Isa isa) {
  if (asked != Precision::automatic) return asked;
  return isa == Isa::avx512_bf16 ? Precision::bf16 : Precision::fp32;
}

void resolve(Config& config, int64_t tokenizer_vocab, const Exec& exec, uint64_t available_bytes) {
  if (config.model.vocab_size == 0) config.model.vocab_size = tokenizer_vocab;
  check(config.model.vocab_size >= tokenizer_vocab, ErrorKind::invalid,
        "model.vocab_size = {} is smaller than the tokenizer's {} ids; raise it or set it to 0",
        config.model.vocab_size, tokenizer_vocab);
  config.train.precision = chosen_precision(config.train.precision, exec.isa);
  const auto options = model_options(config, true);
  const bool choose = config.train.micro_batch_sequences == 0;
  if (choose) {
    config.train.micro_batch_sequences = std::clamp<int64_t>(
        4096 / config.data.sequence_length, 1, std::max<int64_t>(1, config.train.batch_sequences / config.parallel.dp));
    while (config.train.micro_batch_sequences > 1 &&
           double(plan_memory(config, options, exec.compute->n_threads()).total()) > 0.8 * double(available_bytes)) {
      config.train.micro_batch_sequences /= 2;
    }
  }
  const auto plan = plan_memory(config, options, exec.compute->n_threads());
  check(uint64_t(plan.total()) <= available_bytes, ErrorKind::invalid,
        "this run needs about {} of memory ({} weights, gradients and activations, {} optimizer, {} for asynchronous "
        "checkpoints), {} are "
        "available: use a smaller model, train.micro_batch_sequences = 1, train.recompute = \"all\", or "
        "checkpoint.asynchronous = false",
        format_bytes(double(plan.total())), format_bytes(double(plan.weights_and_activations)),
        format_bytes(double(plan.optimizer)), format_bytes(double(plan.checkpoint_copy)),
        format_bytes(double(available_bytes)));
}

double measure_product_flops(const Exec& exec, Precision precision) {
  const int64_t n = precision == Precision::fp64 ? 192 : 768;
  const DType dtype = activation_dtype(precision);
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
