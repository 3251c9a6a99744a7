// The corpus as tokens on disk. It is cut into units, runs of documents of one source worth about unit_bytes of text; a
// unit is one shard of training text and one of held-out text. Units depend on the corpus alone. Documents are encoded
// in parallel and written in order, so the files do not depend on the number of threads. Ranks divide the units that
// are missing: each makes a run of them, worth about as much text as the others'. A dialogue gives samples
// (dialogue_samples.h); one that gives none ends the build with its file and line, or, with data.on_bad_line = "skip",
// is passed over and counted.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/exec.h"
#include "base/progress.h"
#include "comm/group.h"
#include "data/corpus.h"
#include "data/dialogue_samples.h"
#include "text/tokenizer.h"

namespace hadal::data {

struct TokeniseJob {
  const Corpus& corpus;
  const Tokenizer& tokenizer;
  std::filesystem::path directory;
  std::string plan;
  int64_t unit_bytes = 64 << 20;
  ProgressOptions progress;
  const DialogueWriter* dialogues = nullptr;         // where a source holds any
  std::function<void(const std::string&)> say = {};  // which dialogues were passed over; may be empty
  Group* ranks = nullptr;                            // that divide the work, each calling tokenise(); null: this alone
};

struct TokeniseResult {
  std::vector<std::string> files;                         // by source, unit, split
  std::vector<int64_t> training_tokens, held_out_tokens;  // by source
  std::vector<int64_t> refused;                           // dialogues, by source
  int64_t units = 0, units_kept = 0;                      // kept: were there, complete and of this plan
};

struct Unit {
  int64_t source = 0, number = 0;
  int64_t begin = 0, end = 0;  // corpus-wide documents
  int64_t bytes = 0;
};
std::vector<Unit> cut_units(const Corpus& corpus, int64_t unit_bytes);

// The same on every rank; the first one alone says what there is to say.
TokeniseResult tokenise(const TokeniseJob& job, const Exec& exec);

}  // namespace hadal::data
