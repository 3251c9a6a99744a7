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
#include "data/loader.h"
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

// Everything of the configuration that decides the shards, beside the files' content and the tokenizer's.
std::string recipe(const Job& job) {
  Json json{{"format", 1},
            {"holdout", enum_name(job.config.data.holdout)},
            {"holdout_fraction", job.config.data.holdout_fraction}};
  for (const SourceFiles& source : list_sources(job.config.data)) {
    json["sources"].push_back({{"name", source.name}, {"text_field", source.text_field}});
  }
  json["filters"] = Json::array();
  for (const Filter& filter : job.options.filters) json["filters"].push_back(filter.name);
  if (job.config.tokenizer.path.empty()) {
    json["tokenizer"] = {{"vocab_size", job.config.tokenizer.vocab_size},
                         {"training_bytes", job.config.tokenizer.training_bytes}};
  }
  json["unit_bytes"] = job.options.unit_bytes;
  return dump(json);
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (size_t i = 0; i < lines.size() && i < 5; ++i) text += (i ? "; " : "") + lines[i];
  if (lines.size() > 5) text += fmt::format("; and {} more", lines.size() - 5);
  return text;
}

// The cache as it stands, if it is what the configuration asks for. Otherwise says why not (nothing: there is none).
std::optional<Prepared> reuse(const Job& job, std::string& why, ErrorKind& kind) {
  if (!fs::exists(job.shards / "index.json")) return std::nullopt;
  try {
    const ShardIndex index = read_index(job.shards);
    if (index.recipe != recipe(job)) {
      why = "sources, split or tokenizer of the configuration are not those of the build";
      return std::nullopt;
    }
    const auto changes = source_changes(list_sources(job.config.data), index.sources);
    if (!changes.empty()) {
      why = joined(changes);
      return std::nullopt;
    }
    const std::string path = job.config.tokenizer.path.empty() ? job.tokenizer.string() : job.config.tokenizer.path;
    Tokenizer tokenizer = Tokenizer::load(path);
    if (tokenizer.content_hash() != index.tokenizer_hash) {
      why = fmt::format("the tokenizer '{}' is another one than that of the build", path);
      return std::nullopt;
    }
    return Prepared{std::move(tokenizer), Shards::open(job.shards, job.exec), false, false, 0, path};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::unsupported &&
        error.kind() != ErrorKind::not_found)
      throw;
    why = error.what();
    kind = error.kind();
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

// The configured tokenizer, or the one trained on this corpus: kept from an earlier call, else trained now.
Tokenizer get_tokenizer(const Job& job, const Corpus& corpus, bool& trained) {
  trained = false;
  if (!job.config.tokenizer.path.empty()) return Tokenizer::load(job.config.tokenizer.path);
  const fs::path note = job.tokenizer / "trained_from.json";
  const std::string origin = trained_from(job, corpus);
  if (fs::exists(note)) {
    try {
      const Json kept = read_json<Json>(note);
      if (kept.at("origin").get<std::string>() == origin) {
        Tokenizer tokenizer = Tokenizer::load(job.tokenizer.string());
        if (tokenizer.content_hash() == kept.at("hash").get<std::string>()) return tokenizer;
      }
    } catch (const std::exception&) {  // damaged: trained again below, which replaces it
    }
    fs::remove(note);
  }
  trained = true;
  Tokenizer tokenizer = train_tokenizer(job, corpus);
  tokenizer.save(job.tokenizer.string());
  atomic_write(note, dump(Json{{"origin", origin}, {"hash", tokenizer.content_hash()}}) + "\n");
  return tokenizer;
}

void remove_strangers(const fs::path& directory, const std::vector<std::string>& keep) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name.find(".shard") != std::string::npos || name.find(".tmp.") != std::string::npos;
    if (ours && std::find(keep.begin(), keep.end(), name) == keep.end()) fs::remove(entry.path());
  }
}

Prepared build(const Job& job) {
  const CleanStop polled("stopping; the next build continues from here");
  make_directories(job.shards);
  const FileLock lock(job.cache / ".lock", "data cache");
  Corpus corpus = Corpus::scan(job.config.data, job.options.filters, job.progress());
  bool trained = false;
  Tokenizer tokenizer = get_tokenizer(job, corpus, trained);
  ShardIndex index;
  index.recipe = recipe(job);
  index.tokenizer_hash = tokenizer.content_hash();
  index.plan = sha256_hex(corpus.fingerprint() + index.recipe + index.tokenizer_hash);
  index.sources = corpus.sources();
  TokeniseJob work{corpus, tokenizer, job.config.data, job.shards, index.plan, job.options.unit_bytes, job.progress()};
  const TokeniseResult result = tokenise(work, job.exec);
  index.counts = corpus.counts();
  index.files = result.files;
  for (size_t s = 0; s < index.counts.size(); ++s) {
    index.counts[s].training_tokens = result.training_tokens[s];
    index.counts[s].held_out_tokens = result.held_out_tokens[s];
  }
  write_index(job.shards, index);
  remove_strangers(job.shards, index.files);
  const std::string path = job.config.tokenizer.path.empty() ? job.tokenizer.string() : job.config.tokenizer.path;
  return {std::move(tokenizer), Shards::open(job.shards, job.exec), trained, true, result.units_kept, path};
}

}  // namespace

fs::path cache_directory(const Config& config) {
  if (!config.data.cache.empty()) return config.data.cache;
  check(!config.run.empty(), ErrorKind::invalid, "neither data.cache nor run is set: no place for the tokenised text");
  return fs::path(config.run) / "data";
}

std::vector<std::string> source_changes(const std::vector<SourceFiles>& now, const std::vector<SourceFiles>& then) {
  std::map<std::pair<std::string, std::string>, const SourceFile*> before;
  for (const auto& source : then)
    for (const auto& file : source.files) before[{source.name, file.path}] = &file;
  std::vector<std::string> changes;
  for (const auto& source : now) {
    for (const auto& file : source.files) {
      auto found = before.find({source.name, file.path});
      if (found == before.end()) {
        changes.push_back("new: " + file.path);
        continue;
      }
      const SourceFile& old = *found->second;
      const bool same =
          file.bytes == old.bytes && (file.modified_ns == old.modified_ns || hash_of_file(file.path) == old.hash);
      if (!same) changes.push_back("changed: " + file.path);
      before.erase(found);
    }
  }
  for (const auto& [key, file] : before) changes.push_back("gone: " + file->path);
  return changes;
}

std::string corpus_table(const Shards& shards, const DataConfig& config) {
  std::string text = Corpus::table(shards.index().sources, shards.index().counts);
  std::vector<double> weights;
  std::vector<int64_t> tokens;
  for (int64_t s = 0; s < shards.n_sources(); ++s) {
    weights.push_back(config.sources[size_t(s)].weight);
    tokens.push_back(shards.n_tokens(Split::training, s));
  }
  if (shards.n_sources() < 2) return text;
  text += "\nmixture:";
  const std::vector<double> shares = mixture_weights(weights, tokens);
  for (int64_t s = 0; s < shards.n_sources(); ++s) {
    text += fmt::format("{} {} {}", s ? "," : "", shards.source_name(s), format_percent(shares[size_t(s)]));
  }
  return text + " of the training tokens\n";
}

Prepared prepare(const Config& config, const Exec& exec, const PrepareOptions& options) {
  const fs::path cache = cache_directory(config);
  const Job job{config, exec, options, cache, cache / "shards", cache / "tokenizer"};
  std::string why;
  ErrorKind kind = ErrorKind::invalid;
  if (auto found = reuse(job, why, kind)) return std::move(*found);
  if (!why.empty()) {
    check(options.on_change == OnChange::rebuild, kind,
          "the data in '{}' cannot go on being used: {}; restore it, or start a new run", cache.string(), why);
    job.say("data: building again, because: " + why);
  }
  return build(job);
}

}  // namespace hadal::data
