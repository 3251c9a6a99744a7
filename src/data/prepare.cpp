// What of a cache can be used, and when it is built anew (build.h): the order of work is prepare() at the end.
#include "data/prepare.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "data/build.h"
#include "data/byte_stream.h"
#include "data/cache_users.h"
#include "data/corpus_report.h"
#include "data/dialogue_samples.h"
#include "data/evaluation_items.h"

namespace hadal::data {
namespace fs = std::filesystem;
namespace {

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (size_t i = 0; i < lines.size() && i < 5; ++i) text += (i ? "; " : "") + lines[i];
  if (lines.size() > 5) text += fmt::format("; and {} more", lines.size() - 5);
  return text;
}

// The tokenizer of the build: the configured one or the one trained here, and before them a copy that a run keeps.
Tokenizer tokenizer_of(const BuildJob& job, const std::string& hash, std::string& path) {
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

Prepared open_cache(const BuildJob& job, const ShardIndex& index) {
  std::string path;
  Tokenizer tokenizer = tokenizer_of(job, index.tokenizer_hash, path);
  return Prepared{std::move(tokenizer), Shards::open(job.shards, job.exec), false, false, 0, path};
}

constexpr const char* kOtherSettings = "sources, split or tokenizer of the configuration are not those of the build";

// The cache as it stands, if it is what the configuration asks for. Otherwise says why not (nothing: there is none).
std::optional<Prepared> reuse(const BuildJob& job, Obstacle& obstacle) {
  if (!fs::exists(job.shards / "index.json")) return std::nullopt;
  try {
    const ShardIndex index = read_index(job.shards);
    if (index.recipe != job.recipe()) return obstacle.why = kOtherSettings, std::nullopt;
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
bool only_moved(const BuildJob& job, ShardIndex& index) {
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
std::vector<std::string> changes_since(const BuildJob& job, const ShardIndex& index) {
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
std::optional<Prepared> keep(const BuildJob& job, std::string& plan, Obstacle& obstacle) {
  if (!fs::exists(job.shards / "index.json")) {
    obstacle = {fmt::format("'{}' holds no tokenised text", job.shards.string()), ErrorKind::not_found};
    return std::nullopt;
  }
  try {
    ShardIndex index = read_index(job.shards);
    check(
        index.recipe == job.recipe(), ErrorKind::invalid,
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

Prepared open_or_build(const BuildJob& job) {
  Obstacle obstacle;
  if (job.options.on_change == OnChange::rebuild) {
    if (auto found = reuse(job, obstacle)) return std::move(*found);
    if (obstacle.why == kOtherSettings) check_not_shared(job.cache, job.config.run, obstacle.why);
    if (!obstacle.why.empty()) job.say("data: building again, because: " + obstacle.why);
    return build(job);
  }
  std::string plan = job.options.plan;
  if (auto found = keep(job, plan, obstacle)) return std::move(*found);
  check(job.options.on_change == OnChange::keep, obstacle.kind, "the data in '{}' cannot be read: {}",
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

Prepared prepare(const Config& config, const Exec& exec, const PrepareOptions& options) {
  const BuildJob job(config, exec, options);
  Prepared prepared = open_or_build(job);
  if (options.ranks != nullptr && !prepared.built) release_helpers(*options.ranks);
  const std::string note = heldout_note(prepared.shards.index(), config.data);
  if (options.notes && !note.empty() && config.data.holdout_fraction > 0) job.say("data: " + note);
  return prepared;
}

void help_to_prepare(const Config& config, const Exec& exec, const PrepareOptions& options) {
  help_to_build(BuildJob(config, exec, options));
}

void check_same_text(const Config& config, const ShardIndex& index) { moved_files(config, index); }

}  // namespace hadal::data
