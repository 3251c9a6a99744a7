// From configuration to tokens: one call for `hadal data build` and `hadal train`. Lists the sources; takes the cache
// if nothing changed; else reads the corpus, trains or loads the tokenizer, and builds what is missing of the shards.
//   CACHE/tokenizer/   tokenizer.json, tokenizer_config.json and trained_from.json, when it was trained here
//   CACHE/shards/      index.json, SOURCE-UNIT.train.shard, SOURCE-UNIT.heldout.shard
// An interrupted build continues: finished shards of the same corpus and tokenizer are checked and kept.
// Data that something was trained on are kept as they are: the shards, checked by their hashes, are enough, whatever
// became of the text; it is needed again only when they are missing or damaged, and then has to be the same.
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

// What to do with a cache whose sources changed: make it anew; keep it, and mend it where it is damaged; or keep it and
// write nothing at all.
enum class OnChange { rebuild, keep, look };

struct PrepareOptions {
  OnChange on_change = OnChange::rebuild;
  bool quiet = false;                           // no progress lines
  std::function<void(const std::string&)> say;  // sentences for the log; may be empty
  bool notes = true;                            // corpus_notes() are among them when the corpus is read
  int64_t unit_bytes = 64 << 20;                // raw text per shard
  // Where data are kept: a copy of the tokenizer (a run's own), tried first; and the plan of the data that a checkpoint
  // was trained on. Both may be empty.
  std::string tokenizer;
  std::string plan;
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
// Throws what reading and building throw; where data are kept also invalid or corrupt, when the cache is of other
// settings than the configuration's, or neither it nor the text is what it was.
Prepared prepare(const Config& config, const Exec& exec, const PrepareOptions& options = {});

// Checks that `config` names the text of the build under other paths: as many sources, and in each the same files by
// their hashes, in any order. Throws invalid, naming the file that differs.
void check_same_text(const Config& config, const ShardIndex& index);

// What differs between the source files now and those of an index, one line each ("changed: PATH", "new: PATH", "gone:
// PATH"). A file of another time but the same size is read and compared by hash.
std::vector<std::string> source_changes(const std::vector<SourceFiles>& now, const std::vector<SourceFiles>& then);

}  // namespace hadal::data
