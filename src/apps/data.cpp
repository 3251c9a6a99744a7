// hadal data: explain shows what one batch is made of; build is in data_build.cpp, check in data_check.cpp.
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/data_build.h"
#include "apps/data_check.h"
#include "apps/data_config.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "data/explain.h"
#include "data/loader.h"
#include "data/removed.h"
#include "optim/curves.h"
#include "train/metrics.h"
#include "train/run_data.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

struct DataOptions {
  std::string config, phase, html, rule;
  std::vector<std::string> text;
  int64_t step = 1, sequences = 8;
  bool tokens = false, removed = false;
  int64_t documents = 20;
  CommonOptions common;
};

// Sequences that steps 1 .. step-1 consume: as the run noted them, else as the configuration plans them.
int64_t sequences_before(const Config& config, int64_t step) {
  int64_t n = step > 1 ? total_sequences(config.train, 1, step - 1) : 0;
  const fs::path noted = fs::path(config.run) / "metrics.jsonl";
  if (!fs::exists(noted)) return n;
  for (const auto& line : read_metrics(noted)) {
    const int64_t at = line["kind"] == "step" ? line.value("step", int64_t(0)) : 0;
    if (at >= 1 && at < step) n += line.value("sequences", int64_t(0)) - batch_sequences(config.train, at);
  }
  return n;
}

int explain_removed(const Config& config, const DataOptions& o) {
  const auto& sources = config.data.sources;
  const bool rules =
      std::any_of(sources.begin(), sources.end(), [](const SourceConfig& s) { return !s.rules.empty(); });
  check(rules || config.data.near_duplicates.across != Across::off || !config.data.decontaminate.files.empty(),
        ErrorKind::invalid,
        "--removed: no source of {} has rules, and neither data.near_duplicates nor data.decontaminate is set; set "
        "data.sources.0.rules=[\"gopher_quality\"]",
        o.config);
  const OwnedExec exec = o.common.exec();
  const auto removed = data::removed_documents(config.data, o.rule, o.documents, {.unit = "B", .quiet = o.common.quiet},
                                               {.pool = &exec.exec.compute->pool()});
  if (o.html.empty()) {
    fmt::print("{}", data::removed_text(removed));
    return kExitFine;
  }
  atomic_write(o.html, data::removed_html(removed));
  fmt::print("{}\n", o.html);
  return kExitFine;
}

// Shows, and changes nothing: only where nothing was tokenised yet is that done first.
int explain(const DataOptions& o) {
  const std::vector<AskedText> all = asked_texts(o.config, {o.text, o.common.set}, o.phase);
  const AskedText& text = likeliest(all);
  const Config& config = text.config;
  if (all.size() > 1)
    print_notes(
        {fmt::format("this is phase {} ({}) of {}; --phase NAME shows another", text.name, text.kind, all.size())},
        o.common.quiet);
  check(o.removed || o.rule.empty(), ErrorKind::invalid, "--rule {} belongs to --removed", o.rule);
  if (o.removed) return explain_removed(config, o);
  const OwnedExec exec = o.common.exec();
  const bool exists = fs::exists(data::cache_directory(config) / "shards" / "index.json");
  Log log(o.common.quiet ? LogLevel::error : LogLevel::info);
  build_tokenizer(text, exec.exec, prepare_options(log, o.common.quiet, data::OnChange::rebuild), !o.text.empty());
  const auto on_change = exists || has_begun(config) ? data::OnChange::look : data::OnChange::rebuild;
  const data::Prepared result =
      prepare_run_data(config, exec.exec, prepare_options(log, o.common.quiet, on_change), !o.text.empty());
  data::Loader loader(result.shards, result.tokenizer, config.data, config.tokenizer.split_fused);
  print_notes(loader.notes(), o.common.quiet);
  loader.skip(sequences_before(config, o.step));
  const data::Batch batch = loader.next(batch_sequences(config.train, o.step));
  check(!batch.sequences.empty(), ErrorKind::invalid,
        "the text ends before step {} (data.at_end = \"stop\"): {} sequences in all", o.step, batch.first_sequence);
  data::ExplainOptions options;
  options.step = o.step, options.max_sequences = o.sequences, options.tokens = o.tokens;
  options.colour = wants_colour(1), options.n_mtp = config.model.n_mtp;
  if (o.html.empty()) {
    fmt::print("{}", data::explain_text(batch, result.shards, result.tokenizer, config.data, options));
    return kExitFine;
  }
  atomic_write(o.html, data::explain_html(batch, result.shards, result.tokenizer, config.data, options));
  fmt::print("{}\n", o.html);
  return kExitFine;
}

void add_common(Verb verb, DataOptions& o) {
  verb.add_option("config", o.config, "a configuration file (TOML), a run directory, or RUN:NAME, a phase of one")
      .required();
  verb.add_option("--text", o.text, "text instead of the configuration's sources: files, directories, globs");
  add_set_option(verb, o.common);
  add_threads_option(verb, o.common);
  add_quiet_option(verb, o.common);
}

}  // namespace

void add_data(Verb root, Cli& cli) {
  Verb verb = root.add_verb("data", "Tokenised text: build it, show what a batch is made of, check dialogues");
  verb.require_verb();
  add_data_build(verb, cli);
  auto e = std::make_shared<DataOptions>();
  Verb explain_verb =
      verb.add_verb("explain", "Show the sequences, documents, padding, FIM parts and masks of one step");
  add_common(explain_verb, *e);
  explain_verb.add_option("--phase", e->phase,
                          "of a configuration with phases; without it the last that has begun, or the first");
  explain_verb.add_option("--step", e->step, "the optimizer step, from 1").positive();
  explain_verb.add_option("--sequences", e->sequences, "sequences printed; 0 prints all").not_negative();
  explain_verb.add_flag("--tokens", e->tokens,
                        "a line for every token: segment, position, and what is predicted there");
  explain_verb.add_flag("--removed", e->removed,
                        "show documents that rules removed instead, and what they were held against");
  explain_verb.add_option(
      "--rule", e->rule,
      "of these the ones of one rule or rule set, such as gopher_quality, near_duplicates, decontaminate");
  explain_verb.add_option("--documents", e->documents, "of these at the most").not_negative().show_default();
  explain_verb.add_option("--html", e->html, "write a page to this file instead");
  explain_verb.add_examples({"hadal data explain configs/shakespeare.toml --step 100",
                             "hadal data explain runs/demo --step 7 --html batch.html",
                             "hadal data explain runs/life:chat --tokens",
                             "hadal data explain web.toml --removed --rule gopher_quality.min_words",
                             "hadal data explain web.toml --removed --rule near_duplicates"});
  cli.on(explain_verb, [e] { return explain(*e); });
  add_data_check(verb, cli);
}

}  // namespace hadal
