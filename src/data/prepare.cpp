// Reuse, scan, tokenizer, shards: the order of work is prepare() at the end of the file.
#include "data/prepare.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/table.h"
#include "base/text_format.h"
#include "data/byte_stream.h"
#include "data/cache_users.h"
#include "data/corpus_report.h"
#include "data/dialogue_samples.h"
#include "data/evaluation_items.h"
#include "data/loader.h"
#include "data/recipe.h"
#include "data/tokenise.h"
#include "text/bpe_trainer.h"

namespace hadal::data {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;
std::string dump(const Json& json) { return json_text(json, {.lossy = true}); }

struct Job {
  const Config& config;
  const Exec& exec;
  const PrepareOptions& options;
  fs::path cache, shards, tokenizer;

  void say(const std::string& text) const {
    if (options.say) options.say(text);
  }
  ProgressOptions progress() const { return {.unit = "B", .quiet = options.quiet}; }
};

std::string recipe(const Job& job) { return shard_recipe(job.config, job.options.unit_bytes); }

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (size_t i = 0; i < lines.size() && i < 5; ++i) text += (i ? "; " : "") + lines[i];
  if (lines.size() > 5) text += fmt::format("; and {} more", lines.size() - 5);
  return text;
}

// The tokenizer of the build: the configured one or the one trained here, and before them a copy that a run keeps.
Tokenizer tokenizer_of(const Job& job, const std::string& hash, std::string& path) {
  const std::string configured = job.config.tokenizer.path.empty() ? job.tokenizer.string() : job.config.tokenizer.path;
  const std::string& copy = job.options.tokenizer;
  const auto load = [&](const std::string& from) -> std::optional<Tokenizer> {
    Tokenizer tokenizer = Tokenizer::load(path = from);
    if (tokenizer.content_hash() != hash) return std::nullopt;
    return with_chat_template(std::move(tokenizer), job.config.data);
  };
  if (!copy.empty() && fs::exists(copy))
    if (auto found = load(copy)) return std::move(*found);
  auto found = load(configured);
  check(found.has_value(), ErrorKind::invalid, "the tokenizer '{}' is another one than that of the build{}", path,
        copy.empty()
            ? ""
            : fmt::format("; so is '{}': put the tokenizer's files of the last checkpoints/step_N back there", copy));
  return std::move(*found);
}

Prepared open_cache(const Job& job, const ShardIndex& index) {
  std::string path;
  Tokenizer tokenizer = tokenizer_of(job, index.tokenizer_hash, path);
  return Prepared{std::move(tokenizer), Shards::open(job.shards, job.exec), false, false, 0, path};
}

bool is_damage(const Error& error) {
  return error.kind() == ErrorKind::corrupt || error.kind() == ErrorKind::unsupported ||
         error.kind() == ErrorKind::not_found;
}

// What stands between a cache and its use; empty: nothing.
struct Obstacle {
  std::string why;
  ErrorKind kind = ErrorKind::invalid;
};

constexpr const char* kOtherSettings = "sources, split or tokenizer of the configuration are not those of the build";

// The cache as it stands, if it is what the configuration asks for. Otherwise says why not (nothing: there is none).
std::optional<Prepared> reuse(const Job& job, Obstacle& obstacle) {
  if (!fs::exists(job.shards / "index.json")) return std::nullopt;
  try {
    const ShardIndex index = read_index(job.shards);
    if (index.recipe != recipe(job)) return obstacle.why = kOtherSettings, std::nullopt;
    for (const SourceCounts& counts : index.counts) {  // the one way in which it changes what a build gives
      if (job.config.data.on_bad_line != OnBadLine::stop || counts.bad_lines + counts.refused == 0) continue;
      obstacle.why = "it left out bad lines, and data.on_bad_line is \"stop\"";
      return std::nullopt;
    }
    const auto changes = source_changes(list_sources(job.config.data), index.sources);
    if (!changes.empty()) return obstacle.why = joined(changes), std::nullopt;
    if (evaluation_hash(job.config.data.decontaminate) != index.evaluation)
      return obstacle.why = "the evaluation files of data.decontaminate are others now", std::nullopt;
    Prepared found = open_cache(job, index);
    const auto dialogues = dialogue_writer(found.tokenizer, job.config.data);
    if (!dialogues || dialogues->hash() == index.chat_template) return found;
    return obstacle.why = "dialogues are written with another chat template now", std::nullopt;
  } catch (const Error& error) {
    if (!is_damage(error) && error.kind() != ErrorKind::invalid) throw;
    obstacle = {error.what(), error.kind()};
    return std::nullopt;
  }
}

// The files of the build where `config` says they are now, known by their hashes: in the order of the build, and with
// what it noted of them. Throws invalid for text that is not the build's.
std::vector<SourceFiles> moved_files(const Config& config, const ShardIndex& index) {
  const auto sources = list_sources(config.data);
  check(sources.size() == index.sources.size(), ErrorKind::invalid,
        "{} sources of text, {} were trained on; the text of a run does not change", sources.size(),
        index.sources.size());
  std::vector<SourceFiles> moved = index.sources;
  for (size_t s = 0; s < sources.size(); ++s) {
    std::multimap<uint64_t, SourceFile*> wanted;
    for (SourceFile& file : moved[s].files) wanted.emplace(file.hash, &file);
    for (const SourceFile& file : sources[s].files) {
      const auto found = wanted.find(hash_of_file(file.path));
      check(found != wanted.end(), ErrorKind::invalid,
            "'{}' is not among the text that was trained on as source '{}'; the text of a run does not change: start a "
            "new one, from this one's weights if you like (--model)",
            file.path, index.sources[s].name);
      found->second->path = file.path, found->second->modified_ns = file.modified_ns;
      wanted.erase(found);
    }
    check(wanted.empty(), ErrorKind::invalid, "source '{}': {} of its files are missing", index.sources[s].name,
          wanted.size());
  }
  return moved;
}

// Whether all that changed is where the files lie; then the index says so from now on.
bool only_moved(const Job& job, ShardIndex& index) {
  try {
    index.sources = moved_files(job.config, index);
  } catch (const Error& error) {
    if (!is_damage(error) && error.kind() != ErrorKind::invalid) throw;
    return false;
  }
  if (job.options.on_change == OnChange::keep) write_index(job.shards, index);
  return true;
}

// What became of the text since the build, for a note. Text that is gone is no error here.
std::vector<std::string> changes_since(const Job& job, const ShardIndex& index) {
  std::vector<SourceFiles> now;
  for (size_t s = 0; s < job.config.data.sources.size(); ++s) {
    DataConfig one = job.config.data;
    one.sources = {one.sources[s]};
    try {
      now.push_back(list_sources(one).front());
    } catch (const Error& error) {
      if (!is_damage(error)) throw;  // its files are listed as gone
    }
  }
  return source_changes(now, index.sources);
}

// The cache as it stands, whatever became of the text, if it is whole and what something was trained on.
std::optional<Prepared> keep(const Job& job, std::string& plan, Obstacle& obstacle) {
  if (!fs::exists(job.shards / "index.json")) {
    obstacle = {fmt::format("'{}' holds no tokenised text", job.shards.string()), ErrorKind::not_found};
    return std::nullopt;
  }
  try {
    ShardIndex index = read_index(job.shards);
    check(
        index.recipe == recipe(job), ErrorKind::invalid,
        "the data in '{}' are of other settings: {}; leave the settings of the text as they were, or, if another build "
        "took the place, make them anew from the same text: --set data.cache=NEW",
        job.cache.string(), kOtherSettings);
    if (!plan.empty() && index.plan != plan) {
      obstacle.why = "the tokenised text is not the one that was trained on";
      return std::nullopt;
    }
    plan = index.plan;
    std::optional<Prepared> found = open_cache(job, index);
    if (const auto changes = changes_since(job, index); !changes.empty() && !only_moved(job, index))
      job.say(fmt::format("note: {} since the text was tokenised; what was tokenised is used", joined(changes)));
    return found;
  } catch (const Error& error) {
    if (!is_damage(error)) throw;
    obstacle = {error.what(), error.kind()};
    return std::nullopt;
  }
}

std::string trained_from(const Job& job, const Corpus& corpus) {
  return dump(Json{{"corpus", corpus.fingerprint()},
                   {"holdout", enum_name(job.config.data.holdout)},
                   {"holdout_fraction", job.config.data.holdout_fraction},
                   {"vocab_size", job.config.tokenizer.vocab_size},
                   {"training_bytes", job.config.tokenizer.training_bytes}});
}

Tokenizer train_tokenizer(const Job& job, const Corpus& corpus) {
  const auto& settings = job.config.tokenizer;
  const int64_t bytes = settings.training_bytes > 0 ? std::min(settings.training_bytes, corpus.training_bytes())
                                                    : corpus.training_bytes();
  job.say(fmt::format("training a tokenizer of {} tokens on {} of training text", settings.vocab_size,
                      format_bytes(double(bytes))));
  BpeOptions wanted;
  wanted.vocab_size = settings.vocab_size;
  BpeTrainer trainer(wanted, job.exec.compute->pool());
  std::map<std::string, std::unique_ptr<Progress>> stages;
  trainer.on_progress([&](const BpeProgress& p) {
    stop_if_interrupted("no tokenizer was written");
    auto& stage = stages[p.stage];
    const bool counts_bytes = p.total == 0;
    if (!stage) {
      stage = std::make_unique<Progress>(
          std::string("tokenizer: ") + p.stage, counts_bytes ? bytes : p.total,
          ProgressOptions{.unit = counts_bytes ? "B" : "merges", .quiet = job.options.quiet});
    }
    stage->set(p.done);
  });
  trainer.add_texts(corpus.training_texts(settings.training_bytes));
  Tokenizer tokenizer = trainer.train();
  if (tokenizer.vocab_size() < settings.vocab_size) {
    job.say(
        fmt::format("the text gives only {} tokens of the {} asked for", tokenizer.vocab_size(), settings.vocab_size));
  }
  return tokenizer;
}

fs::path origin_note(const Job& job) { return job.tokenizer / "trained_from.json"; }

// The configured tokenizer, or the one trained on this corpus: kept from an earlier call, else trained now (and not
// yet stored).
Tokenizer get_tokenizer(const Job& job, const Corpus& corpus, bool& trained) {
  trained = false;
  if (const std::string& copy = job.options.tokenizer; !copy.empty() && fs::exists(copy)) return Tokenizer::load(copy);
  if (!job.config.tokenizer.path.empty()) return Tokenizer::load(job.config.tokenizer.path);
  if (fs::exists(origin_note(job))) {
    try {
      const Json kept = read_json<Json>(origin_note(job));
      if (kept.at("origin").get<std::string>() == trained_from(job, corpus)) {
        Tokenizer tokenizer = Tokenizer::load(job.tokenizer.string());
        if (tokenizer.content_hash() == kept.at("hash").get<std::string>()) return tokenizer;
      }
    } catch (const std::exception&) {  // damaged: trained again below, which replaces it
    }
  }
  trained = true;
  return train_tokenizer(job, corpus);
}

void store_tokenizer(const Job& job, const Corpus& corpus, const Tokenizer& tokenizer) {
  std::error_code ignored;
  fs::remove(origin_note(job), ignored);  // never beside another tokenizer than its own
  tokenizer.save(job.tokenizer.string());
  atomic_write(origin_note(job),
               dump(Json{{"origin", trained_from(job, corpus)}, {"hash", tokenizer.content_hash()}}) + "\n");
}

void remove_strangers(const fs::path& directory, const std::vector<std::string>& keep) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name.find(".shard") != std::string::npos || name.find(".tmp.") != std::string::npos;
    if (ours && std::find(keep.begin(), keep.end(), name) == keep.end()) fs::remove(entry.path());
  }
}

// The plan of the build that stands in the directory; empty: there is none that anything could use.
std::string plan_in(const fs::path& shards) {
  if (!fs::exists(shards / "index.json")) return "";
  try {
    return read_index(shards).plan;
  } catch (const Error& error) {
    if (!is_damage(error)) throw;
    return "";
  }
}

// With a plan, nothing is written before the text has shown to be that of the plan; else the obstacle is thrown.
Prepared build(const Job& job, const std::string& plan = {}, const Obstacle& obstacle = {}) {
  const CleanStop polled("stopping; the next build continues from here");
  make_directories(job.shards);
  const FileLock lock(job.cache / ".lock", "data cache");
  Corpus corpus = Corpus::scan(job.config.data, job.progress(), {.pool = &job.exec.compute->pool()});
  if (job.options.notes) {
    for (const std::string& note : corpus_notes(corpus.sources(), corpus.counts())) job.say("data: " + note);
    for (const std::string& note : corpus.notes()) job.say("data: " + note);
  }
  bool trained = false;
  Tokenizer tokenizer = with_chat_template(get_tokenizer(job, corpus, trained), job.config.data);
  const auto dialogues = dialogue_writer(tokenizer, job.config.data);
  ShardIndex index;
  index.recipe = recipe(job);
  index.tokenizer_hash = tokenizer.content_hash();
  if (dialogues) index.chat_template = dialogues->hash();
  index.plan = sha256_hex(corpus.fingerprint() + index.recipe + index.tokenizer_hash + index.chat_template);
  index.sources = corpus.sources();
  index.evaluation = evaluation_hash(job.config.data.decontaminate), index.notes = corpus.notes();
  check(
      plan.empty() || index.plan == plan, obstacle.kind,
      "the data in '{}' cannot go on being used: {}; and the text is not the one they were made from, with which they "
      "could be made again: put either back, or start a new run",
      job.cache.string(), obstacle.why);
  if (const auto before = plan_in(job.shards); !before.empty() && before != index.plan)
    check_not_shared(job.cache, job.config.run, "it is of other text or settings");
  if (trained) store_tokenizer(job, corpus, tokenizer);
  TokeniseJob work{corpus, tokenizer, job.shards, index.plan, job.options.unit_bytes, job.progress()};
  work.dialogues = dialogues.get(), work.say = job.options.say;
  if (dialogues) job.say("data: dialogues are written with " + dialogues->description());
  const TokeniseResult result = tokenise(work, job.exec);
  stop_if_interrupted("the next build continues from here");
  index.counts = corpus.counts();
  index.tails_instead = corpus.config().holdout != job.config.data.holdout;
  index.files = result.files;
  for (size_t s = 0; s < index.counts.size(); ++s) {
    index.counts[s].training_tokens = result.training_tokens[s];
    index.counts[s].held_out_tokens = result.held_out_tokens[s];
    index.counts[s].refused = result.refused[s];
  }
  write_index(job.shards, index);
  remove_strangers(job.shards, index.files);
  const std::string path = job.config.tokenizer.path.empty() ? job.tokenizer.string() : job.config.tokenizer.path;
  return {std::move(tokenizer), Shards::open(job.shards, job.exec), trained, true, result.units_kept, path};
}

Prepared open_or_build(const Job& job) {
  Obstacle obstacle;
  if (job.options.on_change == OnChange::rebuild) {
    if (auto found = reuse(job, obstacle)) return std::move(*found);
    if (obstacle.why == kOtherSettings) check_not_shared(job.cache, job.config.run, obstacle.why);
    if (!obstacle.why.empty()) job.say("data: building again, because: " + obstacle.why);
    return build(job);
  }
  std::string plan = job.options.plan;
  if (auto found = keep(job, plan, obstacle)) return std::move(*found);
  check(job.options.on_change == OnChange::keep, obstacle.kind, "the data in '{}' cannot be shown: {}",
        job.cache.string(), obstacle.why);
  obstacle.why = obstacle.why.substr(0, obstacle.why.find("; run `hadal data build`"));  // it is being done
  job.say("data: making again what is missing, because: " + obstacle.why);
  try {
    return build(job, plan, obstacle);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
    fail(obstacle.kind,
         "the data in '{}' cannot go on being used: {}; they can be made again only from the text that they came from "
         "({}): put it back, or name where it lies now with --text",
         job.cache.string(), obstacle.why, error.what());
  }
}

}  // namespace

fs::path cache_directory(const Config& config) {
  if (!config.data.cache.empty()) return config.data.cache;
  check(!config.run.empty(), ErrorKind::invalid, "neither data.cache nor run is set: no place for the tokenised text");
  return fs::path(config.run) / "data";
}

Prepared prepare(const Config& config, const Exec& exec, const PrepareOptions& options) {
  const fs::path cache = cache_directory(config);
  const Job job{config, exec, options, cache, cache / "shards", cache / "tokenizer"};
  Prepared prepared = open_or_build(job);
  const std::string note = heldout_note(prepared.shards.index(), config.data);
  if (options.notes && !note.empty() && config.data.holdout_fraction > 0) job.say("data: " + note);
  return prepared;
}

void check_same_text(const Config& config, const ShardIndex& index) { moved_files(config, index); }

}  // namespace hadal::data
