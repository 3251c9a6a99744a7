// The loop: prepare text, build or restore the state, then step, report, validate and save until done or asked to stop.
#include "train/trainer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "arch/arch.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/system_info.h"
#include "base/text_format.h"
#include "checkpoint/checkpoint.h"
#include "config/config_io.h"
#include "data/loader.h"
#include "exchange/model_directory.h"
#include "nn/part_clock.h"
#include "optim/curves.h"
#include "optim/optimizer.h"
#include "train/metrics.h"
#include "train/resources.h"
#include "train/run_data.h"
#include "train/run_directory.h"
#include "train/screen.h"
#include "train/start_model.h"
#include "train/train_state.h"
#include "train/validation.h"

namespace hadal {
using nlohmann::ordered_json;
namespace {
constexpr double kSmoothing = 0.95;
class Trainer {
 public:
  Trainer(const TrainRequest& request, const Exec& exec)
      : request_(request),
        exec_(exec),
        log_(request.quiet ? LogLevel::warn : LogLevel::info),
        directory_(request.config.run),
        screen_(log_, request.quiet) {}

  TrainOutcome run();

 private:
  void walk();
  void record_failure(const std::string& what);
  void prepare();
  void restore(const std::filesystem::path& checkpoint);
  void announce();
  void one_step();
  void report_step(const StepResult& result, double seconds);
  void guard(const StepResult& result);
  void look(bool final);
  void validate_now(bool final);
  void samples();
  void save();
  int64_t tokens_left() const;

  const TrainRequest& request_;
  Exec exec_;
  Config config_;
  Log log_;
  RunDirectory directory_;
  Screen screen_;
  std::unique_ptr<data::Prepared> prepared_;
  std::unique_ptr<data::Loader> loader_;
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<CheckpointWriter> writer_;
  std::unique_ptr<MetricsWriter> metrics_;
  PartClock clock_;  // of the step that runs
  TrainState state_;
  TrainOutcome outcome_;
  std::vector<std::string> changed_;  // since the run was last at work
  double flops_per_token_ = 0, product_flops_ = 0, started_ = 0;
  int64_t saved_step_ = -1;
  int64_t sequences_left_ = 0;  // of the steps to come, as the batch ramp plans them
  bool finished_ = false;       // the text is used up
  double smoothed_seconds_ = 0;
};

void Trainer::prepare() {
  log_.open_file(directory_.log());
  auto reconciled = directory_.reconcile(request_.config, request_.changes);
  config_ = std::move(reconciled.config);
  changed_ = std::move(reconciled.differences);
  validate(config_);
  const auto existing = list_checkpoints(directory_.checkpoints());
  const auto start = existing.empty() ? open_start_model(config_) : nullptr;
  data::PrepareOptions options;
  options.quiet = request_.quiet;
  options.say = [this](const std::string& text) { screen_.say(text); };
  options.on_change = directory_.has_config() ? data::OnChange::keep : data::OnChange::rebuild;
  prepared_ = std::make_unique<data::Prepared>(prepare_run_data(config_, exec_, options, reconciled.text_moved));
  if (!request_.quiet && prepared_->built) screen_.say(data::corpus_table(prepared_->shards, config_.data));
  prepared_->tokenizer.save(directory_.tokenizer().string());
  const Tokenizer& tokenizer = prepared_->tokenizer;
  resolve(config_, config_.model.vocab_size == 0 ? tokenizer.vocab_size() : tokenizer.rows_needed(), exec_,
          memory_info().available);
  validate(config_.model);
  directory_.store(config_);
  loader_ = std::make_unique<data::Loader>(prepared_->shards, prepared_->tokenizer, config_.data,
                                           config_.tokenizer.split_fused);
  loader_->on_message([this](const std::string& text) { screen_.say(text); });
  if (!existing.empty()) verify_checkpoint(existing.back());  // before anything large is allocated
  model_ = std::make_unique<Transformer>(config_.model, model_options(config_, true), exec_);
  if (start) {
    load_masters(*start, exec_, model_->parameters());
    model_->refresh_values(exec_);
    screen_.say(fmt::format("starting from the weights of {}", start->directory.string()));
  } else if (existing.empty()) {
    model_->initialize(exec_, config_.train.seed);
  }
  optimizer_ = std::make_unique<Optimizer>(model_->parameters(), config_.optim, exec_);
  if (!existing.empty()) restore(existing.back());
  sequences_left_ = total_sequences(config_.train, state_.step + 1, config_.train.steps);
  outcome_.resumed_from = state_.step;
  CheckpointWriterOptions how{config_.checkpoint.keep, config_.checkpoint.asynchronous};
  how.wait_for_room = config_.checkpoint.on_full == OnFull::wait;
  how.stop = interrupted;
  how.say = [this](const std::string& text) { log_.warn("{}", text); };
  writer_ = std::make_unique<CheckpointWriter>(directory_.checkpoints(), how);
  metrics_ = std::make_unique<MetricsWriter>(directory_.metrics(), state_.step);
}

void Trainer::restore(const std::filesystem::path& checkpoint) {
  load_model_tensors(checkpoint / "model.safetensors", model_->parameters());
  model_->refresh_values(exec_);
  const SafetensorsReader reader(checkpoint / "optimizer.safetensors");
  for (const auto& entry : optimizer_->state()) entry.tensor.copy_from(exec_, reader.tensor(entry.name));
  state_ = TrainState::load(checkpoint);
  optimizer_->set_steps_done(state_.updates);
  loader_->seek(state_.cursor);
  saved_step_ = state_.step;
  outcome_.checkpoint = checkpoint.string();
  screen_.say(fmt::format("resuming {} at step {}", directory_.root().string(), state_.step));
}

void Trainer::announce() {
  const auto options = model_options(config_, true);
  const auto counts = count_parameters(config_.model);
  const auto flops = count_flops(config_.model, config_.data.sequence_length);
  const auto plan = plan_memory(config_, options, exec_.compute->n_threads());
  const auto memory = memory_info();
  flops_per_token_ = 3 * (flops.linear + flops.attention_causal + flops.mtp);
  product_flops_ = measure_product_flops(exec_, options.precision);
  screen_.say(fmt::format("device CPU ({}), {} thread(s), kernels {}, precision {}, attention {}, recompute {}",
                          cpu_description(), exec_.compute->n_threads(), isa_name(exec_.isa),
                          enum_name(config_.train.precision), enum_name(config_.train.attention_form),
                          enum_name(config_.train.recompute)));
  screen_.say(fmt::format("model: {} parameters ({} activated per token, head included){}, vocabulary {}",
                          format_count(counts.total), format_count(counts.activated_no_embedding),
                          counts.mtp ? ", and " + format_count(counts.mtp) + " for MTP" : "",
                          config_.model.vocab_size));
  screen_.say(fmt::format("memory: about {} of {} available{}; micro-batches of {} sequences",
                          format_bytes(double(plan.total())), format_bytes(double(memory.available)),
                          memory.cgroup_limited ? " (control group)" : "", config_.train.micro_batch_sequences));
  screen_.say(
      fmt::format("mfu = tokens/s x {} FLOP per token (3 x forward: products, causal attention, MTP) / {}FLOP/s "
                  "(this machine's best product now, same kernels and precision)",
                  format_si(flops_per_token_), format_si(product_flops_)));
  metrics_->write({{"kind", "start"},
                   {"step", state_.step},
                   {"time", iso_time()},
                   {"cpu", cpu_description()},
                   {"threads", exec_.compute->n_threads()},
                   {"isa", isa_name(exec_.isa)},
                   {"precision", enum_name(config_.train.precision)},
                   {"parameters", counts.total},
                   {"mtp_parameters", counts.mtp},
                   {"activated", counts.activated_no_embedding},
                   {"flops_per_token", flops_per_token_},
                   {"product_flops", product_flops_},
                   {"memory_estimate", plan.total()},
                   {"steps", config_.train.steps},
                   {"run", directory_.root().string()},
                   {"sequence_length", config_.data.sequence_length}});
  for (const std::string& change : changed_) {
    screen_.say(fmt::format("from step {} on: {}", state_.step + 1, change));
    metrics_->write({{"kind", "change"}, {"step", state_.step}, {"time", iso_time()}, {"change", change}});
  }
}

int64_t Trainer::tokens_left() const {
  if (!config_.train.batch_ramp.empty()) return sequences_left_ * config_.data.sequence_length;
  const double per_step = state_.step > 0 ? double(state_.tokens) / double(state_.step) : 0;
  return int64_t(per_step * double(config_.train.steps - state_.step));
}

void Trainer::report_step(const StepResult& result, double seconds) {
  smoothed_seconds_ = smoothed_seconds_ == 0 ? seconds : 0.9 * smoothed_seconds_ + 0.1 * seconds;
  StepFacts facts;
  facts.total_steps = config_.train.steps;
  facts.tokens_done = state_.tokens;
  facts.tokens_left = tokens_left();
  facts.smoothed_loss = state_.smoothed_loss;
  facts.seconds = seconds;
  facts.tokens_per_second = double(result.tokens) / std::max(1e-9, seconds);
  facts.mfu = facts.tokens_per_second * flops_per_token_ / std::max(1.0, product_flops_);
  facts.memory_bytes = current_rss_bytes();
  facts.eta_seconds = smoothed_seconds_ * double(config_.train.steps - result.step);
  screen_.step(result, facts);

  ordered_json line = {{"kind", "step"},
                       {"step", result.step},
                       {"loss", result.loss},
                       {"mtp_loss", result.mtp_loss},
                       {"balance_loss", result.balance_loss},
                       {"lr", result.lr},
                       {"lambda", result.lambda},
                       {"gamma", result.gamma},
                       {"grad_norm", result.norms.global},
                       {"sequences", result.sequences},
                       {"tokens", state_.tokens},
                       {"seconds", seconds},
                       {"tokens_per_second", facts.tokens_per_second},
                       {"mfu", facts.mfu},
                       {"memory_bytes", facts.memory_bytes},
                       {"load", result.load_max_over_mean}};
  if (!result.skipped.empty()) line["skipped"] = result.skipped;
  const int64_t every = std::max<int64_t>(1, config_.train.steps / 200);
  if (result.step % every == 0 || result.step == 1) {
    line["layer_norms"] = result.norms.per_layer;
    line["expert_load"] = result.load;
    ordered_json parts = ordered_json::object();
    for (const auto& [name, time] : clock_.take()) parts[name] = time;
    line["parts"] = parts;
  }
  metrics_->write(line);
}

void Trainer::guard(const StepResult& result) {
  if (result.skipped.empty()) {
    state_.skipped_in_row = 0;
    return;
  }
  ++state_.skipped_in_row;
  check(config_.train.on_nan != OnNan::stop, ErrorKind::failed, "step {}: {}; stopped, because train.on_nan = \"stop\"",
        result.step, result.skipped);
  check(state_.skipped_in_row <= config_.train.max_skips, ErrorKind::failed,
        "step {}: {}; {} steps in a row were skipped, more than train.max_skips = {}: "
        "lower optim.lr, or look at the data",
        result.step, result.skipped, state_.skipped_in_row, config_.train.max_skips);
  screen_.say(fmt::format("step {} skipped: {}", result.step, result.skipped));
}

void Trainer::one_step() {
  const double begin = steady_seconds();
  const int64_t step = state_.step + 1;
  const int64_t wanted = batch_sequences(config_.train, step);
  const auto batch = loader_->next(wanted);
  if (batch.sequences.empty()) {
    screen_.say(fmt::format("the text is used up after step {} (data.at_end = \"stop\")", state_.step));
    finished_ = true;
    return;
  }
  clock_ = PartClock();
  const auto result = train_step(exec_, *model_, *optimizer_, config_, batch, step, &clock_);
  state_.step = step;
  sequences_left_ -= wanted;
  state_.updates = optimizer_->steps_done();
  state_.tokens += batch.n_tokens();
  if (result.skipped.empty()) {
    state_.smoothed_loss =
        state_.smoothed_loss == 0 ? result.loss : kSmoothing * state_.smoothed_loss + (1 - kSmoothing) * result.loss;
  }
  report_step(result, steady_seconds() - begin);
  guard(result);
  if (request_.hooks.on_step) request_.hooks.on_step(result);
  if (request_.hooks.enough && request_.hooks.enough()) finished_ = true;
}

// Validation and samples, whose blocks are of other sizes than a step's: neither keeps the other's unused ones.
void Trainer::look(bool final) {
  exec_.memory->trim();
  validate_now(final);
  if (!interrupted()) samples();
  exec_.memory->trim();
}

void Trainer::validate_now(bool final) {
  const auto& v = config_.validation;
  const auto documents =
      data::heldout_documents(prepared_->shards, prepared_->tokenizer, config_.data, final ? 0 : v.max_bytes);
  if (documents.empty()) return;
  const int64_t stride = v.stride > 0 ? v.stride : std::max<int64_t>(1, config_.data.sequence_length / 2);
  const auto result =
      validate_bits_per_byte(exec_, *model_, documents, {config_.data.sequence_length, stride, 4096, interrupted});
  if (!result.complete) {
    screen_.say(fmt::format("validation at step {} was interrupted", state_.step));
    return;
  }
  outcome_.bits_per_byte = result.bits_per_byte;
  screen_.say(fmt::format(
      "validation at step {}: {:.4f} bits per byte ({} held-out bytes, {} windows of {} tokens, stride {}, {})",
      state_.step, result.bits_per_byte, format_count(result.bytes), format_count(result.windows),
      config_.data.sequence_length, stride, format_duration(result.seconds)));
  metrics_->write({{"kind", "validation"},
                   {"step", state_.step},
                   {"bits_per_byte", result.bits_per_byte},
                   {"loss", result.loss},
                   {"bytes", result.bytes},
                   {"windows", result.windows},
                   {"stride", stride},
                   {"seconds", result.seconds},
                   {"final", final}});
}

void Trainer::samples() {
  if (!request_.hooks.sample) return;
  const auto& v = config_.validation;
  for (int64_t i = 0; i < v.samples; ++i) {
    const std::string prompt =
        v.prompts.empty() ? "" : v.prompts[(state_.step / std::max<int64_t>(1, v.every_steps) + i) % v.prompts.size()];
    const auto text =
        request_.hooks.sample(exec_, *model_, prepared_->tokenizer, prompt, v.sample_tokens, uint64_t(state_.step + i));
    screen_.say(fmt::format("sample at step {}: {}", state_.step, prompt + text));
    metrics_->write({{"kind", "sample"}, {"step", state_.step}, {"prompt", prompt}, {"text", text}});
  }
}

void Trainer::save() {
  if (saved_step_ == state_.step) return;
  state_.cursor = loader_->cursor();
  CheckpointContent content;
  content.step = state_.step;
  content.model = model_tensors(model_->parameters());
  for (const auto& entry : optimizer_->state()) content.optimizer.push_back({entry.name, entry.tensor});
  Config stored = config_;
  stored.run.clear();  // a checkpoint may be moved or copied
  content.texts = {{"model.json", model_config_to_json(config_.model)},
                   {"config.toml", config_to_toml(stored)},
                   {"state.json", state_.to_json()}};
  for (auto& [name, text] : prepared_->tokenizer.files()) content.texts[name] = std::move(text);
  writer_->save(exec_, content);
  saved_step_ = state_.step;
  outcome_.checkpoint = (directory_.checkpoints() / fmt::format("step_{:08d}", state_.step)).string();
}

TrainOutcome Trainer::run() {
  started_ = steady_seconds();
  try {
    walk();
  } catch (const std::exception& error) {  // the run directory's log keeps it; the screen hears it from above
    record_failure(error.what());
    throw;
  }
  outcome_.steps = state_.step;
  outcome_.seconds = steady_seconds() - started_;
  return outcome_;
}

void Trainer::record_failure(const std::string& what) {
  if (!std::filesystem::exists(directory_.log())) return;  // the run directory itself was refused
  Log file_only(LogLevel::silent);
  file_only.open_file(directory_.log());
  file_only.error("{}", what);
}

void Trainer::walk() {
  const CleanStop before("stopping before the first step");
  prepare();
  announce();
  const auto not_begun = [] { stop_if_interrupted("no step was made; the same command begins again"); };
  not_begun();
  if (request_.hooks.on_ready) request_.hooks.on_ready();
  exec_.memory->trim();  // what reading the weights and measuring took
  const CleanStop polled("stopping after the current step, with a checkpoint");
  const auto due = [this](int64_t every) { return every > 0 && state_.step % every == 0; };
  while (!finished_ && state_.step < config_.train.steps) {
    if (state_.step == outcome_.resumed_from) not_begun();
    if (interrupted() || (request_.stop_after_step > 0 && state_.step >= request_.stop_after_step)) {
      outcome_.interrupted = true;
      break;
    }
    one_step();
    if (finished_ || state_.step >= config_.train.steps) break;
    if (due(config_.checkpoint.every_steps)) save();
    if (due(config_.validation.every_steps)) look(false);
  }
  save();
  writer_->finish();
  if (outcome_.interrupted) {
    screen_.say(fmt::format("stopped after step {} of {}; checkpoint {} is complete, the same command goes on from it",
                            state_.step, config_.train.steps, outcome_.checkpoint));
  } else {
    look(true);
    outcome_.interrupted = interrupted();
  }
  if (metrics_->failed()) log_.warn("{}: some lines could not be written (full disk?)", directory_.metrics().string());
}

}  // namespace

TrainOutcome train(const TrainRequest& request, const Exec& exec) {
  check(!request.config.run.empty(), ErrorKind::invalid, "no run directory: give --run DIR");
  return Trainer(request, exec).run();
}

}  // namespace hadal
