#include "study/ablation.h"

#include <algorithm>

#include "arch/arch.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/isa.h"
#include "data/heldout.h"
#include "data/loader.h"
#include "optim/curves.h"
#include "optim/optimizer.h"
#include "train/step.h"
#include "train/validation.h"

namespace hadal {
namespace {

struct Text {  // that all variants read
  MicroBatch frozen;
  std::vector<data::Batch> batches;
  std::vector<data::HeldOutDocument> held_out;
};

// The frozen tokens come first: nobody is trained on them.
Text read_text(const Config& config, const data::Prepared& prepared, const AblationOptions& o) {
  constexpr int64_t kHeldOutBytes = 64 << 10;
  Text text;
  data::Loader loader(prepared.shards, prepared.tokenizer, config.data, config.tokenizer.split_fused);
  const data::Batch first = loader.next(1);
  check(!first.sequences.empty(), ErrorKind::invalid, "there is no text to train on");
  std::vector<int32_t> tokens = first.sequences[0].tokens;
  tokens.resize(size_t(std::min(int64_t(tokens.size()), o.frozen_tokens + 1)));
  text.frozen = batch_of_tokens(tokens);
  for (int64_t step = 1; step <= o.steps; ++step) {
    text.batches.push_back(loader.next(batch_sequences(config.train, step)));
    check(!text.batches.back().sequences.empty(), ErrorKind::invalid, "the text is used up after {} steps", step - 1);
  }
  text.held_out = data::heldout_documents(prepared.shards, prepared.tokenizer, config.data, kHeldOutBytes);
  return text;
}

class Training {
 public:
  Training(const VariantSetup& setup, const Text& text, const Exec& exec, const AblationOptions& options,
           GradientReference& reference)
      : setup_(setup), text_(text), exec_(exec), o_(options), reference_(reference) {}

  // False: it was stopped.
  bool run(const std::string& name, VariantRun& result) {
    Transformer model(setup_.config.model, setup_.options, exec_);
    model.initialize(exec_, result.seed);
    Optimizer optimizer(model.parameters(), setup_.config.optim, exec_);
    look(model, 0, result);
    for (int64_t step = 1; step <= o_.steps; ++step) {
      const double begin = steady_seconds();
      const StepResult done = train_step(exec_, model, optimizer, setup_.config, text_.batches[size_t(step - 1)], step);
      result.seconds += steady_seconds() - begin;
      check(done.skipped.empty(), ErrorKind::invalid, "{}, step {}: {}", name, step, done.skipped);
      result.losses.push_back(done.loss);
      if (o_.done) o_.done(1, fmt::format("{} seed {}, loss {:.3f}", name, result.seed, done.loss));
      if (o_.stop && o_.stop()) return false;
      if ((o_.frozen_every > 0 && step % o_.frozen_every == 0) || step == o_.steps) look(model, step, result);
    }
    if (text_.held_out.empty()) return true;
    const int64_t length = setup_.config.data.sequence_length;
    result.bits_per_byte =
        validate_bits_per_byte(exec_, model, text_.held_out, {.sequence_length = length, .stride = 0, .stop = o_.stop})
            .bits_per_byte;
    return true;
  }

 private:
  void look(Transformer& model, int64_t step, VariantRun& result) {
    result.frozen.push_back({step, reference_.errors_of(model)});
  }

  const VariantSetup& setup_;
  const Text& text_;
  const Exec& exec_;
  const AblationOptions& o_;
  GradientReference& reference_;
};

}  // namespace

Ablation run_ablation(const Config& config, const data::Prepared& prepared, const Exec& exec,
                      const AblationOptions& o) {
  const Text text = read_text(config, prepared, o);
  Ablation all;
  all.steps = o.steps, all.frozen_tokens = text.frozen.n_tokens();
  all.tokens_a_step = text.batches.front().n_tokens();
  all.parameters = count_parameters(config.model).total;
  all.place = fmt::format("{} threads, kernels {}", exec.compute->n_threads(), isa_name(exec.isa));
  const double lambda = config.model.n_mtp > 0 ? mtp_weight(config.train, 1) : 0.0;
  GradientReference reference(config.model, exec, text.frozen, lambda);
  // As in a step: a floor loses gradients that are small because many tokens share the mean.
  reference.scale_losses(double(all.frozen_tokens) / double(all.tokens_a_step));
  for (const Variant& variant : o.variants) {
    all.results.push_back({variant, set_up(variant, config).missing, {}});
  }
  // Seed by seed: what is done when somebody stops can be compared.
  for (int64_t seed = 0; seed < o.seeds && all.complete; ++seed) {
    for (VariantResult& result : all.results) {
      if (!result.missing.empty()) continue;
      VariantSetup setup = set_up(result.variant, config);
      setup.config.train.steps = o.steps;
      VariantRun run;
      run.seed = config.train.seed + uint64_t(seed);
      all.complete = Training(setup, text, exec, o, reference).run(result.variant.name, run);
      if (!all.complete) break;
      result.runs.push_back(std::move(run));
    }
  }
  return all;
}

}  // namespace hadal
