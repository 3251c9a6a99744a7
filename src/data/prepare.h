// From configuration to tokens: one call for `hadal data build` and `hadal train`. Lists the sources; takes the cache
// if nothing changed; else reads the corpus, trains or loads the tokenizer, and builds what is missing of the shards.
//   CACHE/tokenizer/   tokenizer.json, tokenizer_config.json and trained_from.json, when it was trained here
//   CACHE/shards/      index.json, SOURCE-UNIT.train.shard, SOURCE-UNIT.heldout.shard
// An interrupted build continues: finished shards of the same corpus and tokenizer are checked and kept.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/exec.h"
#include "config/config.h"
#include "data/shards.h"
#include "text/tokenizer.h"

namespace hadal::data {

enum class OnChange { rebuild, fail };  // what to do with a cache whose sources or settings changed

struct PrepareOptions {
  OnChange on_change = OnChange::rebuild;
  bool quiet = false;                           // no progress lines
  std::function<void(const std::string&)> say;  // sentences for the log; may be empty
  std::vector<Filter> filters;
  int64_t unit_bytes = 64 << 20;  // raw text per shard
};

struct Prepared {
  Tokenizer tokenizer;
  Shards shards;
  bool tokenizer_trained = false;  // in this call
  bool built = false;              // in this call (false: the cache was up to date)
  int64_t units_kept = 0;          // finished units of an interrupted build that were kept
  std::string tokenizer_path;
};

std::filesystem::path cache_directory(const Config& config);  // data.cache, else RUN/data
Prepared prepare(const Config& config, const Exec& exec, const PrepareOptions& options = {});

// What differs between the source files now and those of an index, one line each ("changed: PATH", "new: PATH", "gone:
// PATH"). A file of another time but the same size is read and compared by hash.
std::vector<std::string> source_changes(const std::vector<SourceFiles>& now, const std::vector<SourceFiles>& then);

// The table of `hadal data build`: documents, bytes and tokens per source, kept and removed, and shares of the mixture.
std::string corpus_table(const Shards& shards, const DataConfig& config);

}  // namespace hadal::data
