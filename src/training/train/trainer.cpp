// The loop: prepare text, build or restore the state, then step, report, validate and save until done or asked to stop.
// Every rank runs it; the first has the run directory, draws the batches and decides when to stop.
#include "train/trainer.h"

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/open_device.h"
#include "checkpoint/checkpoint.h"
#include "comm/rank_threads.h"
#include "comm/reason.h"
#include "config/config_io.h"
#include "data/corpus_report.h"
#include "data/loader.h"
#include "exchange/model_directory.h"
#include "optim/curves.h"
#include "optim/optimizer.h"
#include "train/agreement.h"
#include "train/rank_log.h"
#include "train/rank_place.h"
#include "train/reporter.h"
#include "train/resources.h"
#include "train/run_checkpoint.h"
#include "train/run_data.h"
#include "train/shadow_lines.h"
#include "train/skipped_step.h"
#include "train/start_model.h"
#include "train/step_trace.h"
#include "train/validation.h"

namespace hadal {
namespace {
struct Shared {  // what the ranks of one process have in common: written by the first before the others go on
  Config config;
  std::unique_ptr<data::Prepared> prepared;
  std::unique_ptr<data::Loader> loader;
  data::Batch batch;                      // of the step that runs
  std::filesystem::path checkpoint;       // to go on from; empty: none
  std::unique_ptr<ModelDirectory> start;  // whose weights a new run starts from; or null
};
constexpr const char* kNotBegun = "no step was made; the same command begins again";
class Trainer {
 public:
  Trainer(const TrainRequest& request, const Exec& exec, std::shared_ptr<Transport> transport, Shared& shared)
      : request_(request),
        exec_(exec),
        transport_(transport),
        ranks_(transport, "trainers"),
        log_(transport),
        first_in_process_(ranks_.leads() || transport->alone_in_process()),
        shared_(shared) {}

  TrainOutcome run();

 private:
  void walk();
  void prepare();
  void prepare_run();
  void open_run(const std::string& told, const std::string& checkpoint);
  void open_loader();
  void load_weights();
  void restore();
  bool next_batch();
  void one_step();
  void look(bool final);
  void validate_now(bool final, bool average = false);
  void samples();
  void save();
  void say(const std::string& text) {
    if (reporter_) reporter_->say(text);
  }

  const TrainRequest& request_;
  Exec exec_;
  std::shared_ptr<Transport> transport_;
  Group ranks_;
  RankLog log_;
  bool first_in_process_;
  Shared& shared_;
  Config config_;
  std::unique_ptr<Reporter> reporter_;  // of the first rank
  std::unique_ptr<RankPlace> place_;
  std::unique_ptr<Transformer> model_;
  std::unique_ptr<Sharding> sharding_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<LossScaler> scaler_;  // null: losses are not scaled
  std::unique_ptr<CheckpointWriter> writer_;
  PartClock clock_;  // of the step that runs
  std::unique_ptr<StepTrace> trace_;
  TrainState state_;
  TrainOutcome outcome_;
  std::vector<std::string> changed_;  // since the run was last at work
  int64_t saved_step_ = -1;
  bool finished_ = false;  // the text is used up
};

void Trainer::prepare() {
  transport_->doing().begin("the start", -1);
  check_same_start(ranks_, exec_.isa, request_.config, request_.transport != nullptr);
  if (ranks_.leads()) prepare_run();
  const std::string told = ranks_.tell(0, ranks_.leads() ? config_to_toml(shared_.config) : "");
  const std::string checkpoint = ranks_.tell(0, ranks_.leads() ? shared_.checkpoint.filename().string() : "");
  if (first_in_process_ && !ranks_.leads()) open_run(told, checkpoint);
  config_ = shared_.config;
  config_.parallel = request_.config.parallel;
  place_ = std::make_unique<RankPlace>(config_.model, config_.parallel, transport_);
  log_.open(RunDirectoryView(request_.config.run).logs(), place_->name());
  load_weights();
  const Parameters held = model_->parameters();
  if (ranks_.size() > 1) sharding_ = std::make_unique<Sharding>(exec_, place_->placement(), held, transport_);
  optimizer_ = sharding_ ? std::make_unique<Optimizer>(*sharding_, config_.optim, exec_)
                         : std::make_unique<Optimizer>(held, config_.optim, exec_);
  if (shared_.start && shared_.checkpoint.empty()) load_start_moments(config_, *shared_.start, exec_, *optimizer_);
  state_.updates = state_.updates_before = optimizer_->steps_done();
  ranks_.barrier();
  if (first_in_process_) shared_.start.reset();
  if (LossScaler::is_used(config_)) scaler_ = std::make_unique<LossScaler>(config_.loss_scale);
  if (!shared_.checkpoint.empty()) restore();
  outcome_.resumed_from = state_.step;
  if (ranks_.size() > 1 || !request_.trace.empty())
    trace_ = std::make_unique<StepTrace>(*place_, request_.trace, exec_.memory->device());
  CheckpointWriterOptions how = writer_options(config_.checkpoint);
  if (reporter_) how.say = [this](const std::string& text) { reporter_->log().warn("{}", text); };
  writer_ = std::make_unique<CheckpointWriter>(RunDirectoryView(request_.config.run).checkpoints(), transport_, how);
  if (reporter_) reporter_->open_metrics(config_.data, state_.step);
}

// The run directory, the text and the configuration, for all ranks.
void Trainer::prepare_run() {
  reporter_ = std::make_unique<Reporter>(request_.config.run, request_.quiet);
  RunDirectory& directory = reporter_->directory();
  reporter_->log().open_file(directory.log());
  auto reconciled = directory.reconcile(request_.config, request_.changes);
  Config& config = shared_.config = std::move(reconciled.config);
  changed_ = std::move(reconciled.differences);
  validate(config);
  const auto existing = list_checkpoints(directory.checkpoints());
  if (existing.empty()) shared_.start = open_start_model(config, FileCheck::contents);
  data::PrepareOptions options;
  options.quiet = request_.quiet;
  options.say = [this](const std::string& text) { say(text); };
  options.on_change = directory.has_config() ? data::OnChange::keep : data::OnChange::rebuild;
  shared_.prepared = std::make_unique<data::Prepared>(prepare_run_data(config, exec_, options, reconciled.text_moved));
  const data::Prepared& prepared = *shared_.prepared;
  if (!request_.quiet && prepared.built) say(data::corpus_table(prepared.shards, config.data));
  prepared.tokenizer.save(directory.tokenizer().string());
  const Tokenizer& tokenizer = prepared.tokenizer;
  resolve(config, config.model.vocab_size == 0 ? tokenizer.vocab_size() : tokenizer.rows_needed(), exec_,
          available_memory(*exec_.memory), [this](const std::string& text) { say(text); });
  validate(config.model);
  open_loader();
  if (config.train.steps == 0) config.train.steps = steps_of(shared_.loader->n_sequences(), config.train);
  directory.store(config);
  if (existing.empty()) return;
  verify_checkpoint(existing.back());  // before anything large is allocated
  shared_.checkpoint = existing.back();
}

void Trainer::open_loader() {
  const Config& config = shared_.config;
  shared_.loader = std::make_unique<data::Loader>(shared_.prepared->shards, shared_.prepared->tokenizer, config.data,
                                                  config.tokenizer.split_fused);
  shared_.loader->on_message([this](const std::string& text) { say(text); });
  for (const std::string& note : shared_.loader->notes()) say("data: " + note);
}

// The same run in another process.
void Trainer::open_run(const std::string& told, const std::string& checkpoint) {
  const RunDirectoryView run(request_.config.run);
  check(run.has_config() && config_to_toml(load_config(run.config().string())) == told, ErrorKind::invalid,
        "{} is not on one file system for all ranks: rank {} does not find there what the first rank wrote",
        request_.config.run, ranks_.rank());
  Config& config = shared_.config = load_config(run.config().string());
  config.run = request_.config.run;
  if (checkpoint.empty()) {
    shared_.start = open_start_model(config, FileCheck::sizes);
  } else {
    shared_.checkpoint = run.checkpoints() / checkpoint;
    verify_checkpoint_sizes(shared_.checkpoint);
  }
  data::PrepareOptions options;
  options.quiet = true;
  options.on_change = data::OnChange::look;  // what is damaged the first rank makes again, for all
  shared_.prepared = std::make_unique<data::Prepared>(prepare_run_data(config, exec_, options, false));
  open_loader();
}

void Trainer::load_weights() {
  model_ = std::make_unique<Transformer>(config_.model, model_options(config_, true), exec_, place_->share());
  if (!shared_.checkpoint.empty()) {
    load_model_tensors(TensorFiles::open(shared_.checkpoint), place_->placement().specs(), model_->parameters());
    model_->refresh_values(exec_);
  } else if (shared_.start) {
    load_start_masters(config_, *shared_.start, exec_, model_->parameters());
    model_->refresh_values(exec_);
    say(fmt::format("starting from {} of {}", config_.train.start_average ? "the moving average" : "the weights",
                    shared_.start->directory.string()));
  } else {
    model_->initialize(exec_, config_.train.seed);
  }
}

// What a checkpoint holds beside the weights.
void Trainer::restore() {
  load_moments(exec_, shared_.checkpoint, *optimizer_);
  state_ = TrainState::load(shared_.checkpoint);
  optimizer_->set_steps_done(state_.updates);
  if (scaler_ && state_.loss_scale) scaler_->set_state(*state_.loss_scale);  // none: another precision until now
  saved_step_ = state_.step;
  outcome_.checkpoint = shared_.checkpoint.string();
  if (first_in_process_) shared_.loader->seek(state_.cursor);
  if (!ranks_.leads()) return;
  say(fmt::format("resuming {} at step {}", reporter_->directory().root().string(), state_.step));
}

// The batch of the next step, for all ranks; false: the loop is over, for all of them.
bool Trainer::next_batch() {
  transport_->doing().begin("the batch of step", state_.step + 1);
  // A signal may have come to any rank. And behind this none reads the batch of the step before any more.
  const bool stop = any_rank(ranks_, first_in_process_ && interrupted());
  bool more = false;
  if (ranks_.leads()) {
    more = !finished_ && state_.step < config_.train.steps;
    check(!more || !stop || state_.step > outcome_.resumed_from, ErrorKind::io, "interrupted; {}", kNotBegun);
    if (more && (stop || (request_.stop_after_step > 0 && state_.step >= request_.stop_after_step))) {
      outcome_.interrupted = true;
      more = false;
    }
    if (more) {
      shared_.batch = shared_.loader->next(batch_sequences(config_.train, state_.step + 1));
      more = !shared_.batch.sequences.empty();
      if (!more) say(fmt::format("the text is used up after step {} (data.at_end = \"stop\")", state_.step));
    }
  }
  more = ranks_.tell(0, more ? "more" : "") == "more";
  if (more && first_in_process_ && !ranks_.leads())  // of the same stream
    shared_.batch = shared_.loader->next(batch_sequences(config_.train, state_.step + 1));
  return more;
}

void Trainer::one_step() {
  const double begin = steady_seconds();
  const int64_t step = state_.step + 1;
  transport_->doing().begin("step", step);
  const data::Batch& batch = shared_.batch;
  clock_ = PartClock();
  const auto shadow = due_shadow_check(config_, step, model_->parameters());
  const StepWants wants{.scaler = scaler_.get(),
                        .place = place_.get(),
                        .clock = &clock_,
                        .timeline = trace_ ? &trace_->begin_step(sharding_.get()) : nullptr,
                        .watch = shadow.get(),
                        .before_update = [this] { writer_->await_copies(); }};
  const auto result = train_step(exec_, *model_, *optimizer_, config_, batch, step, wants);
  const StepWaits waits = trace_ ? trace_->end_step(steady_seconds() - begin) : StepWaits();
  state_.step = step, state_.updates = optimizer_->steps_done();
  if (scaler_) state_.loss_scale = scaler_->state();
  state_.tokens += batch.n_tokens();
  if (result.skipped.empty() || result.overflowed) state_.smooth(result.loss);  // of an overflow it is as good
  if (reporter_) reporter_->step(config_, batch, result, state_, {steady_seconds() - begin, waits}, clock_);
  tell_shadow(config_, step, shadow.get(), ranks_, [&](const auto& line) {
    if (reporter_) reporter_->shadow(line);
  });
  if (!ranks_.leads()) return;  // all have the same result: one counts, says so, or ends the run
  if (const std::string why = judge_step(config_, result, scaler_.get(), state_); !why.empty()) say(why);
  if (request_.hooks.on_step) request_.hooks.on_step(result);
  if (request_.hooks.enough && request_.hooks.enough()) finished_ = true;
}

// Validation and samples, whose blocks are of other sizes than a step's: neither keeps the other's unused ones.
void Trainer::look(bool final) {
  transport_->doing().begin("the validation after step", state_.step);
  exec_.memory->trim();
  validate_now(final);
  if (ranks_.leads() && !interrupted()) samples();
  if (final && optimizer_->has_ema()) {  // it takes the place of the weights, which are saved
    load_average_masters(outcome_.checkpoint, exec_, model_->parameters());
    model_->refresh_values(exec_);
    validate_now(true, true);
  }
  exec_.memory->trim();
}

void Trainer::validate_now(bool final, bool average) {
  const data::Prepared& text = *shared_.prepared;
  const int64_t most = final ? 0 : config_.validation.max_bytes;
  const auto documents = data::heldout_documents(text.shards, text.tokenizer, config_.data, most);
  if (documents.empty()) return;
  const auto result =
      validate_bits_per_byte(exec_, *model_, documents, validation_options(config_, interrupted, place_.get()));
  if (!result.complete) return say(fmt::format("validation at step {} was interrupted", state_.step));
  if (average) return reporter_ ? reporter_->average(state_, result) : void();
  outcome_.bits_per_byte = result.bits_per_byte;
  if (reporter_) reporter_->validation(config_, state_, result, final);
}

void Trainer::samples() {
  if (!request_.hooks.sample || !place_->holds_whole_model()) return;
  const auto& v = config_.validation;
  for (int64_t i = 0; i < v.samples; ++i) {
    const std::string prompt =
        v.prompts.empty() ? "" : v.prompts[(state_.step / std::max<int64_t>(1, v.every_steps) + i) % v.prompts.size()];
    reporter_->sample(state_, prompt,
                      request_.hooks.sample(exec_, *model_, shared_.prepared->tokenizer, prompt, v.sample_tokens,
                                            uint64_t(state_.step + i)));
  }
}

// Every rank writes what it owns: files do not tell by how many they were made.
void Trainer::save() {
  if (saved_step_ == state_.step) return;
  saved_step_ = state_.step;
  transport_->doing().begin("the checkpoint of step", state_.step);
  CheckpointContent content = checkpoint_content(place_->placement().specs(), model_->parameters(), *optimizer_);
  content.step = state_.step;
  if (ranks_.leads()) {
    state_.cursor = shared_.loader->cursor();
    content.texts = checkpoint_texts(config_, state_, shared_.prepared->tokenizer);
  }
  writer_->save(exec_, std::move(content));
  outcome_.checkpoint = checkpoint_path(RunDirectoryView(request_.config.run).checkpoints(), state_.step).string();
}

TrainOutcome Trainer::run() {
  const double started = steady_seconds();
  try {
    walk();
  } catch (const std::exception& error) {  // the run directory's log keeps it; the screen hears it from above
    log_.failed(reason_of(error));
    if (reporter_) reporter_->failed(reason_of(error));
    throw;
  }
  log_.say(fmt::format("done after step {}", state_.step));
  outcome_.steps = state_.step, outcome_.seconds = steady_seconds() - started;
  return outcome_;
}

void Trainer::walk() {
  std::optional<CleanStop> before, polled;  // of each process one
  if (first_in_process_) before.emplace("stopping before the first step");
  prepare();
  if (reporter_)
    reporter_->announce(config_, exec_, state_, changed_, request_.transport ? request_.transport->name() : "threads");
  if (ranks_.leads()) {
    for (const std::string& note : place_->notes(config_, state_.step + 1)) say(note);
    stop_if_interrupted(kNotBegun);
    if (request_.hooks.on_ready) request_.hooks.on_ready();
  }
  exec_.memory->trim();  // what reading the weights and measuring took
  if (first_in_process_) polled.emplace("stopping after the current step, with a checkpoint");
  const auto due = [this](int64_t every) { return every > 0 && state_.step % every == 0; };
  // Of a run that was killed behind a checkpoint, in the validation of the same step.
  if (ranks_.tell(0, reporter_ && reporter_->lacks_validation(config_, state_) ? "look" : "") == "look") look(false);
  while (next_batch()) {
    one_step();
    if (ranks_.tell(0, finished_ || state_.step >= config_.train.steps ? "last" : "") == "last") continue;
    if (due(config_.checkpoint.every_steps)) save();
    if (due(config_.validation.every_steps)) look(false);
  }
  if (trace_) trace_->finish();
  save();
  writer_->finish();
  if (ranks_.tell(0, outcome_.interrupted ? "stopped" : "") == "stopped") {
    say(fmt::format("stopped after step {} of {}; checkpoint {} is complete, the same command goes on from it",
                    state_.step, config_.train.steps, outcome_.checkpoint));
  } else {
    look(true);
    outcome_.interrupted = interrupted();
  }
  if (reporter_) reporter_->end();
}

}  // namespace

TrainOutcome train(const TrainRequest& request, const Exec& exec) {
  check(!request.config.run.empty(), ErrorKind::invalid, "no run directory: give --run DIR");
  const Placement placement = placement_of(request.config);  // refused before anything is made
  const int n_ranks = int(placement.mesh().n_ranks());
  check(n_ranks == 1 || exec.device.kind == DeviceKind::cpu, ErrorKind::unsupported,
        "{} ranks on {}: so far several ranks run on CPUs alone; use one rank there, or --device cpu", n_ranks,
        device_name(exec.device));
  Shared shared;
  if (request.transport) {
    check_started(placement, request.transport->size());
    return Trainer(request, exec, request.transport, shared).run();
  }
  if (n_ranks == 1) return Trainer(request, exec, std::make_shared<SelfTransport>(), shared).run();
  TrainOutcome outcome;
  run_rank_threads(n_ranks, [&](std::shared_ptr<Transport> transport) {
    const OwnedExec own = place_of_rank(exec, n_ranks);
    const bool leads = transport->rank() == 0;
    const TrainOutcome of_rank = Trainer(request, own.exec, std::move(transport), shared).run();
    if (leads) outcome = of_rank;
  });
  return outcome;
}

}  // namespace hadal
