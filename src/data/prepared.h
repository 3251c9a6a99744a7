// How text is prepared, and what comes of it (prepare.h).
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "comm/group.h"
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
  // Ranks that divide the work of a build: the first one calls prepare(), the others help_to_prepare(). Null: this one
  // alone.
  Group* ranks = nullptr;
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

}  // namespace hadal::data
