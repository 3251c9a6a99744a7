// hadal train: one command from text to a trained model.
#include "apps/cli.h"
#include "apps/fresh_run.h"
#include "apps/rank_options.h"
#include "apps/run_config.h"
#include "apps/run_evaluations.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/open_device.h"
#include "base/text_format.h"
#include "comm/mpi_transport.h"
#include "comm/reason.h"
#include "config/config_io.h"
#include "data/dialogue_samples.h"
#include "dialogue/sample.h"
#include "exchange/hf_config.h"
#include "phases/kinds.h"
#include "phases/phase_report.h"
#include "phases/phase_walk.h"
#include "train/plan.h"
#include "train/run_data.h"
#include "train/trainer.h"

namespace hadal {
namespace {

struct TrainOptions {
  std::string config, run_directory, model, phase, until;
  std::vector<std::string> text, change;
  int64_t steps = 0, stop_after = 0;
  std::string trace;
  bool plan = false, fresh = false, help_config = false;
  RankOptions ranks;
  CommonOptions common;
};

RunArguments arguments_of(const TrainOptions& o) {
  return {o.text, o.common.set, o.run_directory, o.model, o.fresh, o.change};
}

void check_asked(const TrainOptions& o) {
  check(!o.config.empty(), ErrorKind::invalid,
        "give a configuration file, or the directory of a run to go on with; see hadal train --help");
  check(!o.fresh || o.change.empty(), ErrorKind::invalid,
        "--change {}: --fresh starts over, so there is nothing to change; say --set {}",
        o.change.empty() ? "" : o.change[0], o.change.empty() ? "" : o.change[0]);
}

Config configure(const TrainOptions& o) {
  check(o.phase.empty() && o.until.empty(), ErrorKind::invalid, "{}: it has no phases; leave --{} out", o.config,
        o.phase.empty() ? "until" : "phase");
  const RunArguments arguments = arguments_of(o);
  if (!o.fresh) put_back_with_note(o.config, o.common.quiet);
  Config config = read_run_config(o.config, arguments);
  if (!o.fresh && put_back_with_note(config.run, o.common.quiet)) config = read_run_config(o.config, arguments);
  if (o.steps > 0) config.train.steps = o.steps;
  validate(config);
  return config;
}

// Trains as one of several processes: what ends one of them ends all, and each says what it knows.
TrainOutcome train_as_process(const TrainRequest& request, const Exec& exec) {
  const auto mpi = std::static_pointer_cast<MpiTransport>(request.transport);
  try {
    return train(request, exec);
  } catch (const std::exception& error) {  // the transport's end ends the process
    fmt::print(stderr, "hadal: error: rank {}: {}\n", mpi->rank(), reason_of(error));
    std::fflush(stderr);
    mpi->fail(reason_of(error));
    throw;
  }
}

void check_has_text(const Config& config, const std::string& where) {
  check(!config.data.sources.empty(), ErrorKind::invalid,
        "no text to train on: name some with --text FILE, or list data.sources in {}", where);
}

// What every start of a trainer is told by the command line.
TrainRequest request_of(const TrainOptions& o) {
  TrainRequest request;
  request.quiet = o.common.quiet;
  request.stop_after_step = o.stop_after;
  request.trace = o.trace;
  return request;
}

TrainOutcome train_request(const TrainRequest& request, const Exec& exec) {
  return request.transport ? train_as_process(request, exec) : train(request, exec);
}

// With --fresh what the run was stands aside until `on_ready`.
std::unique_ptr<FreshRun> set_aside(const TrainOptions& o, const std::string& run, const std::vector<Config>& configs) {
  std::unique_ptr<FreshRun> fresh;
  if (!o.fresh) return fresh;
  for (const Config& config : configs)  // whatever can be refused early has been
    for (const auto& source : config.data.sources)
      for (const auto& path : source.paths) list_files(path);
  fresh = std::make_unique<FreshRun>(run);
  return fresh;
}

void print_outcome(const TrainOutcome& outcome, const std::string& run) {
  fmt::print("{} {} steps{}{} in {}; model in {}\n",
             outcome.interrupted ? "stopped after" : "done:", format_count(outcome.steps),
             outcome.resumed_from > 0 ? fmt::format(" (resumed at {})", outcome.resumed_from) : "",
             outcome.bits_per_byte > 0 && !outcome.interrupted
                 ? fmt::format(", {:.4f} bits per byte on held-out text", outcome.bits_per_byte)
                 : "",
             format_duration(outcome.seconds), run);
}

// What was trained stands, whether or not its page can be written.
void write_phase_report(const std::string& run, bool quiet) {
  const auto page = std::filesystem::path(run) / "report.html";
  try {
    atomic_write(page, phase_report_html(run));
  } catch (const Error& error) {
    return print_notes({fmt::format("no page of the run: {}", error.what())}, quiet);
  }
  print_notes({"page of all phases: " + page.string()}, quiet);
}

int run_phases(TrainOptions& o) {
  const std::vector<PhaseKind> kinds = training_kinds();
  if (!o.fresh && !o.run_directory.empty()) put_back_with_note(o.run_directory, o.common.quiet);
  PhaseWalk walk;
  walk.plan = read_phased_config(o.config, arguments_of(o), kinds);
  if (o.steps > 0)
    fail(ErrorKind::invalid, "--steps {}: say of which phase: --set phase.NAME.train.steps={}", o.steps, o.steps);
  for (const Phase& phase : walk.plan.phases)
    check_evaluations(phase.config.evaluation, !o.plan, fmt::format("{}: phase '{}'", o.config, phase.name));
  if (o.plan) {
    fmt::print("{}", draw_phases(walk.plan));
    return kExitFine;
  }
  const std::string run = walk.plan.base.run;
  std::vector<Config> configs;
  for (Phase& phase : walk.plan.phases) check_has_text(phase.config, o.config), configs.push_back(phase.config);
  Config first = configs.front();
  TrainRequest request = request_of(o);
  request.transport = open_ranks(o.ranks, first, o.common);
  for (Phase& phase : walk.plan.phases) phase.config.parallel = first.parallel;
  walk.leads = !request.transport || request.transport->rank() == 0;
  auto exec = o.common.exec();
  std::unique_ptr<FreshRun> fresh;
  if (walk.leads) fresh = set_aside(o, run, configs);
  request.hooks.on_ready = [&] {
    if (fresh) fresh->ready();
  };
  walk.only = o.phase, walk.until = o.until, walk.changes = o.change;
  walk.say = [&](const std::string& text) {
    if (walk.leads) print_notes({text}, o.common.quiet);
  };
  walk.train = [&](const Phase& phase, const std::vector<std::string>& changes) {
    request.config = phase.config;
    request.changes = changes;
    request.hooks.sample = sampler_of(phase.config.data.add_bos, data::has_dialogues(phase.config.data));
    return train_request(request, exec.exec);
  };
  walk.evaluate = [&](const Phase& phase) { evaluate_run(phase.config, exec.exec, o.common.quiet); };
  const PhaseOutcome outcome = walk_phases(walk);
  if (!walk.leads) return kExitFine;
  if (outcome.last.steps > 0) print_outcome(outcome.last, run);
  write_phase_report(run, o.common.quiet);
  fmt::print("{} of {} phases have ended{}\n", outcome.records.size(), walk.plan.phases.size(),
             outcome.records.size() < walk.plan.phases.size() ? fmt::format("; 'hadal train {}' goes on", run) : "");
  return kExitFine;
}

int run_training(TrainOptions& o) {
  if (o.help_config) {
    fmt::print("{}", config_help());
    return kExitFine;
  }
  check_asked(o);
  if (is_phased(o.config)) return run_phases(o);
  TrainRequest request = request_of(o);
  request.config = configure(o);
  check_evaluations(request.config.evaluation, !o.plan, o.config);
  if (o.plan) {
    const OwnedExec own = o.common.exec();
    fmt::print("{}{}", draw_plan(request.config),
               draw_memory(request.config, own.exec, available_memory(*own.exec.memory)));
    return kExitFine;
  }
  check_has_text(request.config, o.config);
  request.transport = open_ranks(o.ranks, request.config, o.common);
  validate(request.config);
  const bool leads = !request.transport || request.transport->rank() == 0;
  if (const auto why = hf_config_obstacle(request.config.model); !why.empty() && !has_begun(request.config))
    print_notes({why + "; 'hadal export --to hf' will refuse this model"}, o.common.quiet || !leads);
  auto exec = o.common.exec();
  std::unique_ptr<FreshRun> fresh;
  if (leads) fresh = set_aside(o, request.config.run, {request.config});
  if (fresh) request.hooks.on_ready = [&] { fresh->ready(); };
  request.changes = o.change;
  request.hooks.sample = sampler_of(request.config.data.add_bos, data::has_dialogues(request.config.data));
  const auto outcome = train_request(request, exec.exec);
  if (leads) print_outcome(outcome, request.config.run);
  if (leads && !outcome.interrupted) evaluate_run(request.config, exec.exec, o.common.quiet);
  return kExitFine;
}

}  // namespace

void add_train(Verb root, Cli& cli) {
  auto o = std::make_shared<TrainOptions>();
  Verb verb = root.add_verb(
      "train", "Train a model: text to tokenizer, shards, model and checkpoints; the same command resumes");
  verb.add_option("config", o->config,
                  "a configuration file (TOML), with phases or without, or a run directory to go on with");
  verb.add_option("--text", o->text,
                  "text to train on instead of the configuration's sources: files, directories, globs");
  verb.add_option("--model", o->model,
                  "start from the weights of a run, an exported model or a Hugging Face directory; the model section "
                  "and the tokenizer are then its own");
  verb.add_option("--run", o->run_directory, "run directory; default runs/NAME of the configuration");
  verb.add_option("--steps", o->steps, "optimizer steps, instead of train.steps").positive();
  verb.add_option("--phase", o->phase, "of a configuration with phases: walk this one alone");
  verb.add_option("--until", o->until, "of a configuration with phases: end behind this one");
  verb.add_option("--trace", o->trace,
                  "write what every rank did in the first three steps, piece by piece, as a Chrome trace (JSON)");
  verb.add_option("--stop-after", o->stop_after, "stop with a checkpoint after this step; the same command goes on")
      .positive();
  add_rank_options(verb, o->ranks);
  verb.add_flag("--plan", o->plan, "draw learning rate, batch and balancing over the run, and stop");
  verb.add_flag("--fresh", o->fresh, "delete what an earlier run left in the run directory first");
  verb.add_flag("--help-config", o->help_config, "list every configuration key with its default");
  verb.add_assignments("--change", o->change,
                       "KEY=VALUE: go on with a run under another learning rate, schedule, weight decay, clip, batch, "
                       "balancing or precision; recorded in the run");
  add_set_option(verb, o->common);
  add_threads_option(verb, o->common);
  add_isa_option(verb, o->common);
  add_device_option(verb, o->common);
  add_quiet_option(verb, o->common);
  verb.add_examples({"hadal train configs/shakespeare.toml --text tinyshakespeare.txt",
                     "hadal train configs/shakespeare.toml --plan", "hadal train runs/shakespeare            (resume)",
                     "hadal train my.toml --set optim.lr=1e-3 --set train.steps=500 --run runs/try",
                     "hadal train runs/try --change optim.lr=5e-4    (goes on with another learning rate)",
                     "hadal train runs/try --ranks 2                 (goes on with two ranks)",
                     "mpirun -n 2 hadal train runs/try               (as two processes)",
                     "hadal train configs/life.toml --until pretrain (the first phases of several)",
                     "hadal train tune.toml --model models/moonlight --text notes.txt --run runs/tuned"});
  cli.on(verb, [o] { return run_training(*o); });
}

}  // namespace hadal
