// What training in the absorbed form of attention costs beside the up-projected one, in turns: whole steps (forward,
// backward, clipping, AdamW) in BF16 on sequences of 512 and of 4096 tokens, 4096 tokens a step. Absorbed, a query
// meets latents (kv_lora + rope, kv_lora) instead of keys and values of its head (nope + rope, v): more multiply-adds a
// pair.
//   bench-t2   8 heads of 64 + 32 / 64, kv_lora 128
//   3b, cut    attention and widths of bench/random_model.h, but 2 layers (one dense), 16 experts, vocabulary 8192
// usage: train_form_bench [--only NAME] [--threads N] [--isa NAME]
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "arch/arch.h"
#include "base/clock.h"
#include "bench/harness.h"
#include "bench/made_up_batch.h"
#include "bench/random_model.h"
#include "config/config_io.h"
#include "train/resources.h"
#include "train/step.h"

namespace hadal::bench {
namespace {

constexpr int64_t kTokens = 4096;
constexpr int kRounds = 5;

ModelConfig cut_3b() {
  ModelConfig c = serving_config();
  c.vocab_size = 8192, c.n_layers = 2, c.n_routed_experts = 16, c.n_groups = c.n_limited_groups = 1;
  return c;
}

// A model in training, and what its steps take.
class Trained {
 public:
  Trained(const Exec& exec, Config config, AttentionForm form) : exec_(exec), config_(std::move(config)) {
    config_.train.attention_form = form;
    model_ = std::make_unique<Transformer>(config_.model, model_options(config_, true), exec);
    model_->initialize(exec, 1);
    model_->refresh_values(exec);
    optimizer_ = std::make_unique<Optimizer>(model_->parameters(), config_.optim, exec);
    step(), seconds_.clear();
  }
  void step() {
    const double begin = steady_seconds();
    train_step(exec_, *model_, *optimizer_, config_, made_up_batch(config_), ++n_, {});
    seconds_.push_back(steady_seconds() - begin);
  }
  double best() const { return *std::min_element(seconds_.begin(), seconds_.end()); }

 private:
  const Exec& exec_;
  Config config_;
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<double> seconds_;
  int64_t n_ = 0;
};

// Forward multiply-adds of attention a pair of query and key, absorbed to up-projected.
double pair_ratio(const ModelConfig& c) {
  return double(2 * c.kv_lora_rank + c.qk_rope_head_dim) /
         double(c.qk_nope_head_dim + c.qk_rope_head_dim + c.v_head_dim);
}

void measure(const Exec& exec, const char* name, const ModelConfig& model, int64_t length) {
  Config config;
  config.model = model;
  config.data.sequence_length = length;
  config.train.precision = Precision::bf16;
  config.train.batch_sequences = kTokens / length;
  config.train.micro_batch_sequences = std::max<int64_t>(1, 2048 / length);
  config.train.steps = 1000;
  Trained up(exec, config, AttentionForm::up_projected), absorbed(exec, config, AttentionForm::absorbed);
  for (int round = 0; round < kRounds; ++round) up.step(), absorbed.step();
  const FlopCounts flops = count_flops(model, length);
  std::printf(
      "%-9s %ld x %-5ld up_projected %7.0f tokens/s  absorbed %7.0f tokens/s: %.2f of the speed  "
      "(attention is %2.0f%% of the FLOPs, and %.1f times that absorbed)\n",
      name, long(kTokens / length), long(length), double(kTokens) / up.best(), double(kTokens) / absorbed.best(),
      up.best() / absorbed.best(), 100 * flops.attention_causal / (flops.linear + flops.attention_causal),
      pair_ratio(model));
  std::fflush(stdout);
}

int run(const Options& options) {
  const OwnedExec owned(options.threads, options.exact_isa());
  const ModelConfig t2 = load_config(HADAL_SOURCE_DIR "/configs/bench-t2.toml").model;
  for (const int64_t length : {int64_t(512), kTokens}) {
    if (options.chosen("bench-t2")) measure(owned.exec, "bench-t2", t2, length);
    if (options.chosen("3b, cut")) measure(owned.exec, "3b, cut", cut_3b(), length);
  }
  return 0;
}

}  // namespace
}  // namespace hadal::bench

int main(int argc, char** argv) {
  return hadal::bench::main_of(argc, argv, "Training in the absorbed form of attention beside the up-projected one",
                               hadal::bench::run);
}
