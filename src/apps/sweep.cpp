// hadal sweep: models of several kinds trained with the same FLOPs on the same text, and what came out as one page.
#include <filesystem>

#include "apps/cli.h"
#include "apps/run_config.h"
#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "data/prepare.h"
#include "study/sweep.h"
#include "train/run_place.h"

namespace hadal {
namespace {

struct SweepVerb {
  std::string file, run;
  std::vector<std::string> text;
  bool plan = false;
  CommonOptions common;
};

Sweep read(const SweepVerb& o) {
  Sweep sweep = load_sweep(o.file, o.common.set);
  if (!o.run.empty()) sweep.run = o.run;
  if (sweep.run.empty()) sweep.run = default_run(o.file);
  check_run_place(sweep.run);
  for (SweepArm& arm : sweep.arms) {
    take_text(arm.config, o.text);
    check(!arm.config.data.sources.empty(), ErrorKind::invalid,
          "no text to train on: name some with --text FILE, or list data.sources in {}", o.file);
    check(arm.config.parallel.ranks() == 1, ErrorKind::invalid, "{}: a sweep trains on one rank: leave [parallel] out",
          o.file);
  }
  return sweep;
}

// Builds the text that all arms read, and says how large its vocabulary is.
int64_t prepare_text(const Sweep& sweep, const Exec& exec, bool quiet) {
  data::PrepareOptions how;
  how.quiet = quiet;
  return data::prepare(text_config(sweep), exec, how).tokenizer.vocab_size();
}

void write_results(const SweepResult& result) {
  atomic_write(std::filesystem::path(result.sweep.run) / "report.html", sweep_page(result));
}

int run(const SweepVerb& o) {
  const Sweep sweep = read(o);
  const OwnedExec owned = o.common.exec();
  make_directories(sweep.run);
  const FileLock lock(std::filesystem::path(sweep.run) / "lock", "directory of a sweep");
  SweepResult result = plan_sweep(sweep, prepare_text(sweep, owned.exec, o.common.quiet));
  if (o.plan) {
    fmt::print("{}{:.3g} FLOP in all\n", sweep_table(result), result.all_flops());
    return kExitFine;
  }
  const CleanStop stop("stopping after this step, with a page of what is complete");
  Progress progress("training", int64_t(result.all_flops() / 1e9), {.unit = "GFLOP", .quiet = o.common.quiet});
  SweepOptions options;
  double since_last_run = 0;
  options.step = [&](double flops, const std::string& what) {
    since_last_run += flops;
    progress.note(what), progress.set(int64_t((result.done_flops() + since_last_run) / 1e9));
  };
  options.say = [&](const std::string& text) { print_notes({text}, o.common.quiet); };
  options.after_run = [&](const SweepResult& so_far) {
    since_last_run = 0;
    write_results(so_far);
  };
  run_sweep(result, owned.exec, options);
  progress.finish();
  write_results(result);
  fmt::print("{}{}\n{}\n", sweep_table(result), sweep_sentence(result),
             (std::filesystem::path(sweep.run) / "report.html").string());
  if (!result.complete()) fmt::print("stopped; the same command goes on\n");
  return kExitFine;
}

}  // namespace

void add_sweep(Verb root, Cli& cli) {
  auto o = std::make_shared<SweepVerb>();
  Verb verb = root.add_verb(
      "sweep", "Train models of several kinds with the same FLOPs on the same text, and compare what they learn");
  verb.add_option("file", o->file, "a configuration (TOML) with [sweep] and an entry [[arm]] for each kind of model")
      .required();
  verb.add_option("--text", o->text, "text instead of the configuration's sources").values(1, 1 << 20);
  verb.add_option("--run", o->run, "directory of all runs; default runs/NAME of the file");
  verb.add_flag("--plan", o->plan, "print the arms' figures, and stop");
  add_set_option(verb, o->common);
  add_threads_option(verb, o->common);
  add_isa_option(verb, o->common);
  add_quiet_option(verb, o->common);
  verb.add_examples({"hadal sweep configs/llama-or-v3.toml --text library.txt --plan",
                     "hadal sweep configs/llama-or-v3.toml --text library.txt    (again: goes on)",
                     "hadal sweep my.toml --set sweep.budgets=[1e13,2e13] --set sweep.seeds=[1]"});
  cli.on(verb, [o] { return run(*o); });
}

}  // namespace hadal
