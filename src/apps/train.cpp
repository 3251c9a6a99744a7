// hadal train: one command from text to a trained model.
#include "apps/cli.h"
#include "apps/fresh_run.h"
#include "apps/rank_options.h"
#include "apps/run_config.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/text_format.h"
#include "comm/mpi_transport.h"
#include "config/config_io.h"
#include "data/dialogue_samples.h"
#include "dialogue/sample.h"
#include "exchange/hf_config.h"
#include "train/plan.h"
#include "train/run_data.h"
#include "train/trainer.h"

namespace hadal {
namespace {

struct TrainOptions {
  std::string config, run_directory, model;
  std::vector<std::string> text, change;
  int64_t steps = 0, stop_after = 0;
  std::string trace;
  bool plan = false, fresh = false, help_config = false;
  RankOptions ranks;
  CommonOptions common;
};

Config configure(const TrainOptions& o) {
  check(!o.config.empty(), ErrorKind::invalid,
        "give a configuration file, or the directory of a run to go on with; see hadal train --help");
  check(!o.fresh || o.change.empty(), ErrorKind::invalid,
        "--change {}: --fresh starts over, so there is nothing to change; say --set {}",
        o.change.empty() ? "" : o.change[0], o.change.empty() ? "" : o.change[0]);
  const RunArguments arguments{o.text, o.common.set, o.run_directory, o.model, o.fresh, o.change};
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
    fmt::print(stderr, "hadal: error: rank {}: {}\n", mpi->rank(), error.what());
    std::fflush(stderr);
    mpi->fail(error.what());
    throw;
  }
}

int run_training(TrainOptions& o) {
  if (o.help_config) {
    fmt::print("{}", config_help());
    return kExitFine;
  }
  TrainRequest request;
  request.config = configure(o);
  if (o.plan) {
    fmt::print("{}", draw_plan(request.config));
    return kExitFine;
  }
  check(!request.config.data.sources.empty(), ErrorKind::invalid,
        "no text to train on: name some with --text FILE, or list data.sources in {}", o.config);
  request.transport = open_ranks(o.ranks, request.config, o.common);
  validate(request.config);
  const bool leads = !request.transport || request.transport->rank() == 0;
  if (const auto why = hf_config_obstacle(request.config.model); !why.empty() && !has_begun(request.config))
    print_notes({why + "; 'hadal export --to hf' will refuse this model"}, o.common.quiet || !leads);
  auto exec = o.common.exec();
  std::optional<FreshRun> fresh;
  if (o.fresh && leads) {  // whatever can be refused early has been
    for (const auto& source : request.config.data.sources)
      for (const auto& path : source.paths) list_files(path);
    fresh.emplace(request.config.run);
    request.hooks.on_ready = [&] { fresh->ready(); };
  }
  request.changes = o.change;
  request.quiet = o.common.quiet;
  request.stop_after_step = o.stop_after;
  request.trace = o.trace;
  request.hooks.sample = sampler_of(request.config.data.add_bos, data::has_dialogues(request.config.data));
  const auto outcome = request.transport ? train_as_process(request, exec.exec) : train(request, exec.exec);
  if (!leads) return kExitFine;
  fmt::print("{} {} steps{}{} in {}; model in {}\n",
             outcome.interrupted ? "stopped after" : "done:", format_count(outcome.steps),
             outcome.resumed_from > 0 ? fmt::format(" (resumed at {})", outcome.resumed_from) : "",
             outcome.bits_per_byte > 0 && !outcome.interrupted
                 ? fmt::format(", {:.4f} bits per byte on held-out text", outcome.bits_per_byte)
                 : "",
             format_duration(outcome.seconds), request.config.run);
  return kExitFine;
}

}  // namespace

void add_train(Verb root, Cli& cli) {
  auto o = std::make_shared<TrainOptions>();
  Verb verb = root.add_verb(
      "train", "Train a model: text to tokenizer, shards, model and checkpoints; the same command resumes");
  verb.add_option("config", o->config, "a configuration file (TOML), or a run directory to go on with");
  verb.add_option("--text", o->text,
                  "text to train on instead of the configuration's sources: files, directories, globs");
  verb.add_option("--model", o->model,
                  "start from the weights of a run, an exported model or a Hugging Face directory; the model section "
                  "and the tokenizer are then its own");
  verb.add_option("--run", o->run_directory, "run directory; default runs/NAME of the configuration");
  verb.add_option("--steps", o->steps, "optimizer steps, instead of train.steps").positive();
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
                     "hadal train tune.toml --model models/moonlight --text notes.txt --run runs/tuned"});
  cli.on(verb, [o] { return run_training(*o); });
}

}  // namespace hadal
