// hadal data: build makes the tokenised text of a configuration, explain shows what one batch is made of; check is in
// data_check.cpp.
#include <charconv>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/data_check.h"
#include "apps/data_config.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text_format.h"
#include "data/corpus_report.h"
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
  std::string config, phase, html, rule, sample;
  std::vector<std::string> text;
  int64_t step = 1, sequences = 8;
  bool tokens = false, removed = false, dry_run = false;
  int64_t documents = 20;
  CommonOptions common;
};

data::Prepared prepared(const Config& config, const DataOptions& o, const Exec& exec, data::OnChange on_change) {
  Log log(o.common.quiet ? LogLevel::error : LogLevel::info);
  data::PrepareOptions options;
  options.quiet = o.common.quiet;
  options.notes = false;  // build prints them, also of data that is up to date
  options.say = [&](const std::string& text) { log.info("{}", text); };
  options.on_change = on_change;
  return prepare_run_data(config, exec, options, !o.text.empty());
}

// "1%" or "0.01".
double share_of(const std::string& text) {
  const bool percent = text.ends_with('%');
  double share = 0;
  const char* end = text.data() + text.size() - percent;
  const auto [at, code] = std::from_chars(text.data(), end, share);
  if (percent) share /= 100;
  check(code == std::errc() && at == end && share > 0 && share <= 1, ErrorKind::invalid,
        "--sample {}: a share of the documents was expected, such as 1% or 0.01", text);
  return share;
}

// What a build would keep and remove; nothing is written.
int dry_run(const DataOptions& o, const Config& config, const Exec& exec) {
  const double sample = o.sample.empty() ? 1 : share_of(o.sample);
  const auto corpus = data::Corpus::scan(config.data, {.unit = "B", .quiet = o.common.quiet},
                                         {.pool = &exec.compute->pool(), .sample = sample});
  for (const std::string& note : data::corpus_notes(corpus.sources(), corpus.counts())) fmt::print("{}\n", note);
  for (const std::string& note : corpus.notes()) fmt::print("{}\n", note);
  fmt::print("{}", data::Corpus::table(corpus.sources(), corpus.counts()));
  if (const std::string removed = data::removed_table(corpus.sources(), corpus.counts()); !removed.empty())
    fmt::print("\n{}", removed);
  if (sample < 1)
    fmt::print("{} of the documents, by their hashes; {}\n", format_percent(sample),
               config.data.near_duplicates.across == Across::off
                   ? "shares are those of the whole as far as a sample tells"
                   : "near duplicates of the whole are more: both of a pair are in a sample seldom");
  fmt::print("nothing was written\n");
  return kExitFine;
}

// A phase takes the tokenizer that the first one's text makes.
void build_tokenizer(const AskedText& text, const DataOptions& o, const Exec& exec) {
  if (text.first && !fs::exists(text.config.tokenizer.path)) prepared(*text.first, o, exec, data::OnChange::rebuild);
}

int build(const DataOptions& o, const AskedText& text) {
  const Config& config = text.config;
  const OwnedExec exec = o.common.exec();
  check(o.sample.empty() || o.dry_run, ErrorKind::invalid, "--sample {} belongs to --dry-run", o.sample);
  if (o.dry_run) return dry_run(o, config, exec.exec);
  build_tokenizer(text, o, exec.exec);
  const data::Prepared result =
      prepared(config, o, exec.exec, has_begun(config) ? data::OnChange::keep : data::OnChange::rebuild);
  for (const data::SourceFiles& source : result.shards.index().sources) {
    int64_t shown = 0;
    for (const data::SourceFile& file : source.files) {
      if (!file.skipped.empty() && ++shown <= 10) fmt::print("skipped ({}): {}\n", file.skipped, file.path);
    }
    if (shown > 10) fmt::print("skipped: {} more of source '{}'\n", shown - 10, source.name);
  }
  const data::ShardIndex& index = result.shards.index();
  for (const std::string& note : data::corpus_notes(index.sources, index.counts)) fmt::print("{}\n", note);
  for (const std::string& note : index.notes) fmt::print("{}\n", note);
  fmt::print("{}", data::corpus_table(result.shards, config.data));
  if (const std::string note = data::heldout_note(index, config.data); !note.empty()) fmt::print("{}\n", note);
  fmt::print("tokenizer  {} ({} tokens{})\n", result.tokenizer_path, format_count(result.tokenizer.vocab_size()),
             result.tokenizer_trained ? ", trained now" : "");
  fmt::print("shards     {} ({}{})\n", (data::cache_directory(config) / "shards").string(),
             result.built ? "built now" : "up to date",
             result.units_kept > 0 ? fmt::format(", {} units of an earlier build kept", result.units_kept) : "");
  return kExitFine;
}

// Every phase, one after another, as training comes to them.
int build_all(const DataOptions& o) {
  bool another = false;
  for (const AskedText& text : asked_texts(o.config, {o.text, o.common.set}, o.phase)) {
    if (!text.name.empty())
      fmt::print("{}phase {} ({})\n", std::exchange(another, true) ? "\n" : "", text.name, text.kind);
    build(o, text);
  }
  return kExitFine;
}

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
  build_tokenizer(text, o, exec.exec);
  const bool exists = fs::exists(data::cache_directory(config) / "shards" / "index.json");
  const data::Prepared result =
      prepared(config, o, exec.exec, exists || has_begun(config) ? data::OnChange::look : data::OnChange::rebuild);
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
  auto b = std::make_shared<DataOptions>();
  Verb build_verb = verb.add_verb("build",
                                  "Read the sources, remove duplicates, what rules refuse, near duplicates "
                                  "(data.near_duplicates) and evaluation items (data.decontaminate), hold text out, "
                                  "train the tokenizer if none is given, write tokenised shards");
  add_common(build_verb, *b);
  build_verb.add_option("--phase", b->phase, "of a configuration with phases: this one's text alone");
  build_verb.add_flag("--dry-run", b->dry_run, "read the sources, show what would be kept and removed, write nothing");
  build_verb.add_option("--sample", b->sample, "of --dry-run: share of the documents that are looked at, such as 1%");
  build_verb.add_examples({"hadal data build web.toml --dry-run --sample 1% --set data.near_duplicates.across=all",
                           "hadal data build configs/shakespeare.toml --text tinyshakespeare.txt",
                           "hadal data build configs/life.toml --phase chat    (one of its phases)",
                           "hadal data build my.toml --set data.cache=shared/cache --set data.holdout_fraction=0.01"});
  cli.on(build_verb, [b] { return build_all(*b); });

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
