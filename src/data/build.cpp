// See build.h.
#include "data/build.h"

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/text_format.h"
#include "comm/byte_text.h"
#include "data/cache_users.h"
#include "data/corpus_report.h"
#include "data/dialogue_samples.h"
#include "data/evaluation_items.h"
#include "data/recipe.h"
#include "data/tokenise.h"
#include "text/bpe_trainer.h"

namespace hadal::data {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;
std::string dump(const Json& json) { return json_text(json, {.lossy = true}); }

std::string trained_from(const BuildJob& job, const Corpus& corpus) {
  return dump(Json{{"corpus", corpus.fingerprint()},
                   {"holdout", enum_name(job.config.data.holdout)},
                   {"holdout_fraction", job.config.data.holdout_fraction},
                   {"vocab_size", job.config.tokenizer.vocab_size},
                   {"training_bytes", job.config.tokenizer.training_bytes}});
}

Tokenizer train_tokenizer(const BuildJob& job, const Corpus& corpus) {
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

fs::path origin_note(const BuildJob& job) { return job.tokenizer / "trained_from.json"; }

// The configured tokenizer, or the one trained on this corpus: kept from an earlier call, else trained now (and not
// yet stored).
struct OfBuild {
  Tokenizer tokenizer;
  std::string path;  // where it lies, or will
  bool trained = false;
};

OfBuild get_tokenizer(const BuildJob& job, const Corpus& corpus) {
  const auto load = [](const std::string& path) { return OfBuild{Tokenizer::load(path), path}; };
  if (const std::string& copy = job.options.tokenizer; !copy.empty() && fs::exists(copy)) return load(copy);
  if (!job.config.tokenizer.path.empty()) return load(job.config.tokenizer.path);
  if (fs::exists(origin_note(job))) {
    try {
      const Json kept = read_json<Json>(origin_note(job));
      if (kept.at("origin").get<std::string>() == trained_from(job, corpus)) {
        OfBuild found = load(job.tokenizer.string());
        if (found.tokenizer.content_hash() == kept.at("hash").get<std::string>()) return found;
      }
    } catch (const std::exception&) {  // damaged: trained again below, which replaces it
    }
  }
  return {train_tokenizer(job, corpus), job.tokenizer.string(), true};
}

void store_tokenizer(const BuildJob& job, const Corpus& corpus, const Tokenizer& tokenizer) {
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

// What the first rank tells the others: that a build begins; then the tokenizer of it and its plan.
constexpr const char* kBuild = "build";

struct BuildOrder {
  std::string tokenizer, hash, plan;
  template <class Self, class Archive>
  static void visit(Self& order, Archive& archive) {
    archive(order.tokenizer), archive(order.hash), archive(order.plan);
  }
};

void tell_order(Group* ranks, const BuildOrder& order) {
  if (ranks == nullptr) return;
  ByteWriter out;
  BuildOrder::visit(order, out);
  ranks->tell(0, out.text);
}

BuildOrder told_order(Group& ranks) {
  const std::string text = ranks.tell(0, "");
  ByteReader in(text);
  BuildOrder order;
  BuildOrder::visit(order, in);
  return order;
}

Corpus scan(const BuildJob& job) {
  return Corpus::scan(job.config.data, job.progress(), {.pool = &job.exec.compute->pool(), .ranks = job.options.ranks});
}

ShardIndex index_of(const BuildJob& job, const Corpus& corpus, const Tokenizer& tokenizer,
                    const DialogueWriter* dialogues) {
  ShardIndex index;
  index.recipe = job.recipe();
  index.tokenizer_hash = tokenizer.content_hash();
  if (dialogues) index.chat_template = dialogues->hash();
  index.plan = sha256_hex(corpus.fingerprint() + index.recipe + index.tokenizer_hash + index.chat_template);
  index.sources = corpus.sources(), index.counts = corpus.counts(), index.notes = corpus.notes();
  index.evaluation = evaluation_hash(job.config.data.decontaminate);
  index.tails_instead = corpus.config().holdout != job.config.data.holdout;
  return index;
}

TokeniseJob tokenise_job(const BuildJob& job, const Corpus& corpus, const Tokenizer& tokenizer, const std::string& plan,
                         const DialogueWriter* dialogues) {
  TokeniseJob work{corpus, tokenizer, job.shards, plan, job.options.unit_bytes, job.progress()};
  work.dialogues = dialogues, work.say = job.options.say, work.ranks = job.options.ranks;
  return work;
}

}  // namespace

fs::path cache_directory(const Config& config) {
  if (!config.data.cache.empty()) return config.data.cache;
  check(!config.run.empty(), ErrorKind::invalid, "neither data.cache nor run is set: no place for the tokenised text");
  return fs::path(config.run) / "data";
}

BuildJob::BuildJob(const Config& config, const Exec& exec, const PrepareOptions& options)
    : config(config),
      exec(exec),
      options(options),
      cache(cache_directory(config)),
      shards(cache / "shards"),
      tokenizer(cache / "tokenizer") {}

std::string BuildJob::recipe() const { return shard_recipe(config, options.unit_bytes); }

bool is_damage(const Error& error) {
  return error.kind() == ErrorKind::corrupt || error.kind() == ErrorKind::unsupported ||
         error.kind() == ErrorKind::not_found;
}

Prepared build(const BuildJob& job, const std::string& plan, const Obstacle& obstacle) {
  const CleanStop polled("stopping; the next build continues from here");
  make_directories(job.shards);
  const FileLock lock(job.cache / ".lock", "data cache");
  if (job.options.ranks != nullptr) job.options.ranks->tell(0, kBuild);
  const Corpus corpus = scan(job);
  if (job.options.notes) {
    for (const std::string& note : corpus_notes(corpus.sources(), corpus.counts())) job.say("data: " + note);
    for (const std::string& note : corpus.notes()) job.say("data: " + note);
  }
  OfBuild got = get_tokenizer(job, corpus);
  Tokenizer tokenizer = with_chat_template(std::move(got.tokenizer), job.config.data);
  const auto dialogues = dialogue_writer(tokenizer, job.config.data);
  ShardIndex index = index_of(job, corpus, tokenizer, dialogues.get());
  check(
      plan.empty() || index.plan == plan, obstacle.kind,
      "the data in '{}' cannot go on being used: {}; and the text is not the one they were made from, with which they "
      "could be made again: put either back, or start a new run",
      job.cache.string(), obstacle.why);
  if (const auto before = plan_in(job.shards); !before.empty() && before != index.plan)
    check_not_shared(job.cache, job.config.run, "it is of other text or settings");
  if (got.trained) store_tokenizer(job, corpus, tokenizer);
  tell_order(job.options.ranks, {got.path, index.tokenizer_hash, index.plan});
  if (dialogues) job.say("data: dialogues are written with " + dialogues->description());
  const TokeniseResult result = tokenise(tokenise_job(job, corpus, tokenizer, index.plan, dialogues.get()), job.exec);
  stop_if_interrupted("the next build continues from here");
  index.files = result.files;
  for (size_t s = 0; s < index.counts.size(); ++s) {
    index.counts[s].training_tokens = result.training_tokens[s];
    index.counts[s].held_out_tokens = result.held_out_tokens[s];
    index.counts[s].refused = result.refused[s];
  }
  write_index(job.shards, index);
  remove_strangers(job.shards, index.files);
  const std::string path = job.config.tokenizer.path.empty() ? job.tokenizer.string() : job.config.tokenizer.path;
  return {std::move(tokenizer), Shards::open(job.shards, job.exec), got.trained, true, result.units_kept, path};
}

void help_to_build(const BuildJob& job) {
  Group& ranks = *job.options.ranks;
  if (ranks.tell(0, "") != kBuild) return;
  check(fs::exists(job.cache / ".lock"), ErrorKind::invalid,
        "'{}' is not on one file system for all ranks: rank {} does not find there what the first rank wrote",
        job.cache.string(), ranks.rank());
  const Corpus corpus = scan(job);
  const BuildOrder order = told_order(ranks);
  const Tokenizer tokenizer = with_chat_template(Tokenizer::load(order.tokenizer), job.config.data);
  check(tokenizer.content_hash() == order.hash, ErrorKind::invalid,
        "the tokenizer '{}' that rank {} finds is another one than the first rank's", order.tokenizer, ranks.rank());
  const auto dialogues = dialogue_writer(tokenizer, job.config.data);
  tokenise(tokenise_job(job, corpus, tokenizer, order.plan, dialogues.get()), job.exec);
}

void release_helpers(Group& ranks) { ranks.tell(0, ""); }

}  // namespace hadal::data
