// hadal data build: the tokenised text of a configuration, by one rank or by several that divide the work.
#include "apps/data_build.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>

#include "apps/rank_options.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/text_format.h"
#include "comm/mpi_transport.h"
#include "comm/rank_threads.h"
#include "config/config_io.h"
#include "data/corpus_report.h"
#include "data/loader.h"
#include "train/run_data.h"

namespace hadal {
namespace {

struct BuildOptions {
  std::string config, phase, sample;
  std::vector<std::string> text;
  bool dry_run = false;
  RankOptions ranks;
  CommonOptions common;
};

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
void dry_run(const BuildOptions& o, const Config& config, const Exec& exec, Group& ranks) {
  const double sample = o.sample.empty() ? 1 : share_of(o.sample);
  const auto corpus = data::Corpus::scan(config.data, {.unit = "B", .quiet = o.common.quiet},
                                         {.pool = &exec.compute->pool(), .sample = sample, .ranks = &ranks});
  if (!ranks.leads()) return;
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
}

void print_skipped(const data::ShardIndex& index) {
  for (const data::SourceFiles& source : index.sources) {
    int64_t shown = 0;
    for (const data::SourceFile& file : source.files) {
      if (!file.skipped.empty() && ++shown <= 10) fmt::print("skipped ({}): {}\n", file.skipped, file.path);
    }
    if (shown > 10) fmt::print("skipped: {} more of source '{}'\n", shown - 10, source.name);
  }
}

void build(const BuildOptions& o, const AskedText& text, const Exec& exec, Group& ranks) {
  const Config& config = text.config;
  Log log(o.common.quiet || !ranks.leads() ? LogLevel::error : LogLevel::info);
  data::PrepareOptions how = prepare_options(log, o.common.quiet, data::OnChange::rebuild);
  how.ranks = &ranks;
  build_tokenizer(text, exec, how, !o.text.empty());
  if (has_begun(config)) how.on_change = data::OnChange::keep;
  if (!ranks.leads()) return data::help_to_prepare(config, exec, how);
  const data::Prepared result = prepare_run_data(config, exec, how, !o.text.empty());
  const data::ShardIndex& index = result.shards.index();
  print_skipped(index);
  for (const std::string& note : data::corpus_notes(index.sources, index.counts)) fmt::print("{}\n", note);
  for (const std::string& note : index.notes) fmt::print("{}\n", note);
  fmt::print("{}", data::corpus_table(result.shards, config.data));
  if (const std::string note = data::heldout_note(index, config.data); !note.empty()) fmt::print("{}\n", note);
  fmt::print("tokenizer  {} ({} tokens{})\n", result.tokenizer_path, format_count(result.tokenizer.vocab_size()),
             result.tokenizer_trained ? ", trained now" : "");
  fmt::print("shards     {} ({}{})\n", (data::cache_directory(config) / "shards").string(),
             result.built ? "built now" : "up to date",
             result.units_kept > 0 ? fmt::format(", {} units of an earlier build kept", result.units_kept) : "");
}

// Every phase, one after another, as training comes to them.
void run_rank(const BuildOptions& o, const std::vector<AskedText>& texts, const Exec& exec, Group& ranks) {
  for (const AskedText& text : texts) {
    if (ranks.leads() && !text.name.empty())
      fmt::print("{}phase {} ({})\n", &text == &texts.front() ? "" : "\n", text.name, text.kind);
    o.dry_run ? dry_run(o, text.config, exec, ranks) : build(o, text, exec, ranks);
  }
}

std::vector<AskedText> texts_of(const BuildOptions& o) {
  auto texts = asked_texts(o.config, {o.text, o.common.set}, o.phase);
  check(o.sample.empty() || o.dry_run, ErrorKind::invalid, "--sample {} belongs to --dry-run", o.sample);
  return texts;
}

std::string in_words(const std::vector<AskedText>& texts) {
  std::string all;
  for (const AskedText& text : texts) all += text.name + "\n" + config_to_toml(text.config);
  return all;
}

// As one of several processes: what ends one of them ends all, and the one that it met says why.
void run_as_process(const BuildOptions& o, const std::shared_ptr<MpiTransport>& mpi) {
  try {
    Group ranks(mpi, "data");
    if (!ranks.leads()) ranks.barrier();  // what is wrong for all the first one says
    check(o.ranks.ranks == 0 || o.ranks.ranks == mpi->size(), ErrorKind::invalid,
          "--ranks {}, but {} processes were started; leave it out", o.ranks.ranks, mpi->size());
    const std::vector<AskedText> texts = texts_of(o);
    if (ranks.leads()) ranks.barrier();
    check(ranks.tell(0, in_words(texts)) == in_words(texts), ErrorKind::invalid,
          "it has another configuration than the first rank; start all with the same words");
    const OwnedExec exec = o.common.exec();
    run_rank(o, texts, exec.exec, ranks);
  } catch (const std::exception& error) {  // the transport's end ends the process
    const bool is_news = mpi->fail(error.what());
    const char* text = is_news ? error.what() : "interrupted; the next build continues from here";
    if (interrupted() ? mpi->rank() == 0 : is_news)  // all were asked to stop: the first one answers
      fmt::print(stderr, "hadal: error: rank {}: {}\n", mpi->rank(), text);
    std::fflush(stderr);
    throw;
  }
}

int run_build(BuildOptions& o) {
  const auto n_ranks = int(std::max<int64_t>(1, o.ranks.ranks));
  std::optional<CleanStop> polled;  // of each process, also while it meets the others
  if (started_by_mpi()) polled.emplace("stopping; the next build continues from here");
  const auto transport = open_processes(o.ranks.transport, n_ranks, o.common, o.ranks.watchdog);
  if (transport) {
    run_as_process(o, std::static_pointer_cast<MpiTransport>(transport));
    return kExitFine;
  }
  const std::vector<AskedText> texts = texts_of(o);
  const OwnedExec exec = o.common.exec();
  if (n_ranks == 1) {
    Group alone = Group::self();
    run_rank(o, texts, exec.exec, alone);
    return kExitFine;
  }
  run_rank_threads(n_ranks, [&](std::shared_ptr<Transport> of_rank) {
    const OwnedExec own = place_of_rank(exec.exec, n_ranks);
    Group ranks(std::move(of_rank), "data");
    run_rank(o, texts, own.exec, ranks);
  });
  return kExitFine;
}

}  // namespace

void build_tokenizer(const AskedText& text, const Exec& exec, const data::PrepareOptions& how, bool own_text) {
  std::string lacks = text.first && !std::filesystem::exists(text.config.tokenizer.path) ? "lacks" : "";
  if (how.ranks != nullptr) lacks = how.ranks->tell(0, lacks);  // one of them may look when it is there already
  if (lacks.empty()) return;
  if (how.ranks != nullptr && !how.ranks->leads()) return data::help_to_prepare(*text.first, exec, how);
  prepare_run_data(*text.first, exec, how, own_text);
}

data::PrepareOptions prepare_options(Log& log, bool quiet, data::OnChange on_change) {
  data::PrepareOptions options;
  options.quiet = quiet;
  options.notes = false;  // build prints them, also of data that is up to date
  options.say = [&log](const std::string& text) { log.info("{}", text); };
  options.on_change = on_change;
  return options;
}

void add_data_build(Verb data, Cli& cli) {
  auto o = std::make_shared<BuildOptions>();
  Verb verb = data.add_verb("build",
                            "Read the sources, remove duplicates, what rules refuse, near duplicates "
                            "(data.near_duplicates) and evaluation items (data.decontaminate), hold text out, "
                            "train the tokenizer if none is given, write tokenised shards");
  verb.add_option("config", o->config, "a configuration file (TOML), a run directory, or RUN:NAME, a phase of one")
      .required();
  verb.add_option("--text", o->text, "text instead of the configuration's sources: files, directories, globs");
  verb.add_option("--phase", o->phase, "of a configuration with phases: this one's text alone");
  verb.add_flag("--dry-run", o->dry_run, "read the sources, show what would be kept and removed, write nothing");
  verb.add_option("--sample", o->sample, "of --dry-run: share of the documents that are looked at, such as 1%");
  add_count_of_ranks(verb, o->ranks,
                     "ranks that divide files, comparisons, shards and cores among themselves; the data are the same");
  add_set_option(verb, o->common);
  add_threads_option(verb, o->common);
  add_quiet_option(verb, o->common);
  verb.add_examples({"hadal data build web.toml --dry-run --sample 1% --set data.near_duplicates.across=all",
                     "hadal data build configs/shakespeare.toml --text tinyshakespeare.txt",
                     "hadal data build configs/life.toml --phase chat    (one of its phases)",
                     "hadal data build my.toml --set data.cache=shared/cache --set data.holdout_fraction=0.01",
                     "mpirun -n 8 hadal data build web.toml          (reading, comparing and tokenising divided)"});
  cli.on(verb, [o] { return run_build(*o); });
}

}  // namespace hadal
