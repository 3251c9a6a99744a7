// hadal demo: from text on this machine to a model that writes, in minutes; a second call resumes or reuses.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/demo_config.h"
#include "apps/demo_text.h"
#include "apps/fresh_run.h"
#include "apps/serve.h"
#include "arch/arch.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/table.h"
#include "base/text_format.h"
#include "config/config_io.h"
#include "data/corpus.h"
#include "dialogue/prompt.h"
#include "dialogue/sample.h"
#include "dialogue/text_model.h"
#include "eval/baselines.h"
#include "train/report.h"
#include "train/resources.h"
#include "train/run_place.h"
#include "train/trainer.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kSeed = 20241227;
constexpr int64_t kLibraryBytes = 8 << 20;

struct DemoOptions {
  std::vector<std::string> text;
  std::string run_directory = "runs/demo";
  int64_t steps = 0;
  double minutes = 6;
  bool fresh = false, serve = false;
  int port = 8000;
  CommonOptions common;
};

SourceConfig source(const std::string& name, std::vector<std::string> paths, double weight) {
  SourceConfig config;
  config.name = name;
  config.paths = std::move(paths);
  config.weight = weight;
  return config;
}

void write_if_changed(const fs::path& path, const std::string& content) {
  if (!fs::exists(path) || read_file(path) != content) atomic_write(path, content);
}

// As many steps as fit the minutes on this machine: measured product speed, of which a step of this size reaches about
// 35 %.
int64_t steps_for(const Config& config, double minutes, const Exec& exec) {
  ModelConfig model = config.model;
  if (model.vocab_size == 0) model.vocab_size = config.tokenizer.vocab_size;
  const auto precision = chosen_precision(config.train.precision, exec);
  const auto flops = count_flops(model, config.data.sequence_length);
  const double tokens = 0.35 * measure_product_flops(exec, precision) /
                        (3 * (flops.linear + flops.attention_causal + flops.mtp)) * 60 * minutes;
  return std::clamp<int64_t>(int64_t(tokens / double(config.train.batch_sequences * config.data.sequence_length)), 100,
                             3000);
}

Config configure(const DemoOptions& o, const Exec& exec) {
  Config config = config_from_toml(kDemoConfig, "the built-in demo configuration");
  config.run = o.run_directory;
  if (!o.text.empty()) {
    config.data.sources = {source("text", o.text, 0)};
  } else {
    const fs::path made = fs::path(o.run_directory) / "text";
    make_directories(made);
    {
      const FileLock mark(fs::path(o.run_directory) / "lock", "run directory");
    }  // from here on --fresh knows it as a run
    write_if_changed(made / "arithmetic.jsonl", arithmetic_documents(2000, kSeed));
    write_if_changed(made / "stories.jsonl", story_documents(3000, kSeed));
    const auto library = standard_library_files(kLibraryBytes);
    if (!library.empty()) config.data.sources.push_back(source("python", library, 0.8));
    config.data.sources.push_back(
        source("arithmetic", {(made / "arithmetic.jsonl").string()}, library.empty() ? 0.5 : 0.1));
    config.data.sources.push_back(source("stories", {(made / "stories.jsonl").string()}, library.empty() ? 0.5 : 0.1));
  }
  apply_overrides(config, o.common.set);
  check_cache_place(config);
  const auto stored = fs::path(o.run_directory) / "config.toml";
  if (o.steps > 0)
    config.train.steps = o.steps;
  else if (fs::exists(stored))
    config.train.steps = load_config(stored.string()).train.steps;
  else
    config.train.steps = steps_for(config, o.minutes, exec);
  validate(config);
  return config;
}

struct Split {
  std::string training, held_out, hash;
};

Split read_split(const Config& config) {
  ProgressOptions silent;
  silent.quiet = true;
  const auto corpus = data::Corpus::scan(config.data, silent);
  Split split;
  split.hash = corpus.fingerprint();
  corpus.read(0, [&](int64_t document, const std::string& text) {
    const auto& facts = corpus.facts(document);
    if (facts.fate == data::Fate::training || facts.fate == data::Fate::held_out) {
      const size_t cut = size_t(data::split_point(text, facts, corpus.config()));
      split.training.append(text, 0, cut);
      split.held_out.append(text, cut, std::string::npos);
    }
    return true;
  });
  return split;
}

// The whole demonstration takes no longer than this, whatever else keeps the machine busy.
double seconds_of(const DemoOptions& o) { return 60 * o.minutes / 0.6; }

// Trains as many steps as were planned. A machine that is also busy with something else learns less in its minutes, or
// takes longer than was measured: then training goes on while the model has not passed xz, or ends early, so that the
// whole stays within its time.
TrainOutcome train_in_time(const DemoOptions& o, TrainRequest& request, const Split& split, double start,
                           const Exec& exec) {
  const double limit = 0.9 * seconds_of(o);  // the rest is for the comparison and the texts
  const auto elapsed = [&] { return steady_seconds() - start; };
  if (o.steps == 0) request.hooks.enough = [&] { return elapsed() > limit; };
  TrainOutcome outcome = train(request, exec);
  const double xz = xz_bits_per_byte(split.held_out);
  const int64_t steps = outcome.steps - outcome.resumed_from;
  if (!outcome.interrupted && o.steps == 0 && steps > 0 && outcome.bits_per_byte >= xz) {
    const int64_t more = int64_t((limit - elapsed()) * double(steps) / outcome.seconds);
    if (more >= 20) {  // fewer change nothing
      request.config.train.steps = outcome.steps + more;
      outcome = train(request, exec);
    }
  }
  if (!outcome.interrupted && outcome.bits_per_byte >= xz)
    fmt::print(
        "\nran out of time: {} steps in {} are too few to pass xz -9e here (another program may be at work); "
        "hadal demo --run {} --steps {} goes on\n",
        format_count(outcome.steps), format_duration(elapsed()), request.config.run, 2 * outcome.steps);
  return outcome;
}

void compare(const Split& split, double ours) {
  fmt::print("\nheld-out text, {} bytes, in bits per byte (corpus {}):\n", format_count(int64_t(split.held_out.size())),
             split.hash.substr(0, 16));
  Table table({"method", "bits per byte"});
  auto add = [&](const std::string& name, double value) { table.add({name, fmt::format("{:.3f}", value)}); };
  add("this model", ours);
  add("order-5 n-gram, Witten-Bell, same training text", ngram_bits_per_byte(split.training, split.held_out, 5));
  add("xz -9e after the training text", xz_primed_bits_per_byte(split.training, split.held_out));
  add("xz -9e", xz_bits_per_byte(split.held_out));
  add("gzip -9", gzip_bits_per_byte(split.held_out));
  fmt::print("{}", table.text());
}

void write_something(const Exec& exec, TextModel& loaded, bool own_text) {
  EngineRequest request;
  request.sampling.temperature = 0.7;
  request.sampling.top_p = 0.95;
  request.sampling.seed = 7;
  request.max_tokens = 80;
  const auto& tokenizer = loaded.text();
  auto& model = *loaded.model.transformer;
  const std::string prompt = own_text ? "The " : "Once upon a time";
  request.prompt = text_start(loaded);
  tokenizer.encode_to(prompt, SpecialTokens::as_text, request.prompt);
  const auto written = [&] {
    Engine engine = engine_for(exec, model, request);
    return generate_text(engine, tokenizer, request).text;
  };
  fmt::print("\ncompletion of \"{}\":\n{}{}\n", prompt, prompt, written());
  const std::string prefix = "def add(a, b):\n    \"\"\"Return the sum.\"\"\"\n    ",
                    suffix = "\n\ndef sub(a, b):\n    return a - b\n";
  request.sampling.temperature = 0;
  request.prompt = fim_prompt(tokenizer, prefix, suffix);
  request.max_tokens = 24;
  fmt::print("\nfilling in the middle:\n{}[{}]{}\n", prefix, written(), suffix);
}

int serve(const DemoOptions& o, const Exec& exec, const TextModel& loaded) {
  ServingOptions serving;
  serving.service.name = fs::path(o.run_directory).lexically_normal().filename().string();
  serving.http.port = o.port;
  serving.engine.drafts = EngineOptions::kAutomatic;
  fmt::print("\n");
  return serve_until_stopped(exec, loaded, serving, o.common.quiet);
}

int demo(const DemoOptions& o) {
  const double start = steady_seconds();
  check_run_place(o.run_directory);
  std::optional<FreshRun> fresh;
  if (o.fresh)
    fresh.emplace(o.run_directory);
  else
    put_back_with_note(o.run_directory, o.common.quiet);
  TrainRequest request;
  auto exec = o.common.exec();
  request.config = configure(o, exec.exec);
  request.quiet = o.common.quiet;
  if (fresh) request.hooks.on_ready = [&] { fresh->ready(); };
  request.hooks.sample = sampler_of(request.config.data.add_bos);
  const bool existed = fs::exists(fs::path(o.run_directory) / "checkpoints");
  const Split split = read_split(request.config);
  const auto outcome = train_in_time(o, request, split, start, exec.exec);
  if (outcome.interrupted) {
    fmt::print("stopped; `make demo` goes on from step {}\n", outcome.steps);
    return kExitFine;
  }
  if (existed && outcome.resumed_from == outcome.steps) {
    fmt::print("{} was already trained; it is used as it is (--fresh trains again)\n", o.run_directory);
  } else if (existed && outcome.resumed_from > 0) {
    fmt::print("resumed at step {}\n", outcome.resumed_from);
  }
  compare(split, outcome.bits_per_byte);
  auto loaded = load_text_model(o.run_directory, {}, exec.exec);
  write_something(exec.exec, loaded, !o.text.empty());
  const auto report = fs::path(o.run_directory) / "report.html";
  atomic_write(report, report_html({o.run_directory}));
  fmt::print("\nmodel   {}\nreport  {}\ntime    {}\n\ngo on:  hadal generate --model {} --prompt 'def '\n",
             o.run_directory, report.string(), format_duration(steady_seconds() - start), o.run_directory);
  return o.serve ? serve(o, exec.exec, loaded) : kExitFine;
}

}  // namespace

void add_demo(Verb root, Cli& cli) {
  auto o = std::make_shared<DemoOptions>();
  Verb verb = root.add_verb("demo", "Train a small model on text that is already here, and let it write");
  verb.add_option("--text", o->text, "your own text instead: files, directories, globs");
  verb.add_option("--run", o->run_directory, "run directory").show_default();
  verb.add_option("--minutes", o->minutes, "training time to aim at on this machine; at most five thirds of it in all")
      .within(0.1, 10000.0)
      .show_default();
  verb.add_option("--steps", o->steps, "optimizer steps, instead of as many as fit --minutes").positive();
  verb.add_flag("--fresh", o->fresh, "delete what an earlier demo left first");
  verb.add_flag("--serve", o->serve, "then serve the model: a page to try it, and OpenAI's API (hadal serve)");
  verb.add_option("--port", o->port, "port to serve on; 0 = any free one").within(0, 65535).show_default();
  add_set_option(verb, o->common);
  add_threads_option(verb, o->common);
  add_isa_option(verb, o->common);
  add_quiet_option(verb, o->common);
  verb.add_examples({"hadal demo", "hadal demo --text ~/notes --run runs/notes", "hadal demo --serve"});
  cli.on(verb, [o] { return demo(*o); });
}

}  // namespace hadal
