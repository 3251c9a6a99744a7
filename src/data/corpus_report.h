// What a user is told of a corpus beside its table (Corpus::table): what was read as what, what names do not tell, and
// which lines were passed over.
#pragma once
#include <string>
#include <vector>

#include "data/shards.h"

namespace hadal::data {

// The table of `hadal data build`: documents, bytes and tokens per source, kept and removed, and shares of the mixture.
std::string corpus_table(const Shards& shards, const DataConfig& config);

// Sentences, one per line: "read as plain text: 14 .md, 3 .csv; as JSON lines: 2 .jsonl", then notes of single files
// and bad lines, the first ten of each and how many more there are.
std::vector<std::string> corpus_notes(const std::vector<SourceFiles>& sources, const std::vector<SourceCounts>& counts);

// What rules removed, rule by rule: the first that fired counts, and of its documents those that no other would have
// refused; empty without rules.
std::string removed_table(const std::vector<SourceFiles>& sources, const std::vector<SourceCounts>& counts);

// Where another text is held out than the configuration says, or none: a sentence about it; else empty.
std::string heldout_note(const ShardIndex& index, const DataConfig& config);

}  // namespace hadal::data
