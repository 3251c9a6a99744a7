// From configuration to tokens: one call for `hadal data build` and `hadal train`. Lists the sources; takes the cache
// if nothing changed; else reads the corpus, trains or loads the tokenizer, and builds what is missing of the shards.
//   CACHE/tokenizer/   tokenizer.json, tokenizer_config.json and trained_from.json, when it was trained here
//   CACHE/shards/      index.json, SOURCE-UNIT.train.shard, SOURCE-UNIT.heldout.shard
// An interrupted build continues: finished shards of the same corpus and tokenizer are checked and kept.
// Data that something was trained on are kept as they are: the shards, checked by their hashes, are enough, whatever
// became of the text; it is needed again only when they are missing or damaged, and then has to be the same.
#pragma once
#include <string>
#include <vector>

#include "base/exec.h"
#include "config/config.h"
#include "data/prepared.h"

namespace hadal::data {

// Throws what reading and building throw; where data are kept also invalid or corrupt, when the cache is of other
// settings than the configuration's, or neither it nor the text is what it was.
Prepared prepare(const Config& config, const Exec& exec, const PrepareOptions& options = {});

// On the other ranks of options.ranks, with the same configuration, while the first one is in prepare(): does this
// rank's share if there is anything to build. The cache has to lie in one file system for all.
void help_to_prepare(const Config& config, const Exec& exec, const PrepareOptions& options);

// Checks that `config` names the text of the build under other paths: as many sources, and in each the same files by
// their hashes, in any order. Throws invalid, naming the file that differs.
void check_same_text(const Config& config, const ShardIndex& index);

// What differs between the source files now and those of an index, one line each ("changed: PATH", "new: PATH", "gone:
// PATH"). A file of another time but the same size is read and compared by hash.
std::vector<std::string> source_changes(const std::vector<SourceFiles>& now, const std::vector<SourceFiles>& then);

}  // namespace hadal::data
