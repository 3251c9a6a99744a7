// Shards: the tokenised corpus on disk, and its index (index.json beside the shard files). Documents are addressed by
// (split, source, number); the numbering is the corpus order and does not depend on how files are cut or on thread
// count.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/exec.h"
#include "data/corpus.h"
#include "data/shard_file.h"

namespace hadal::data {

struct ShardIndex {
  std::string plan;    // 64 digits: corpus, split and tokenizer; cursors carry it
  std::string recipe;  // JSON of everything in the configuration that decides the shards
  std::string tokenizer_hash;
  std::vector<SourceFiles> sources;  // fingerprints of the source files
  std::vector<SourceCounts> counts;
  std::string chat_template;       // SHA-256 of what dialogues are written with; empty: there are none
  std::string evaluation;          // hash of the evaluation files that documents were held against; empty: none
  std::vector<std::string> notes;  // of the corpus's rules (Corpus::notes)
  bool tails_instead = false;      // hashes held out no document, or all: the tail of each is held out
  std::vector<std::string> files;  // shard files, by source, unit, split
};
ShardIndex read_index(const std::filesystem::path& directory);  // not_found, or corrupt with what to do
void write_index(const std::filesystem::path& directory, const ShardIndex& index);

class Shards {
 public:
  // Opens and checks all files (in parallel). Errors name the file and say that `hadal data build` repairs it.
  static Shards open(const std::filesystem::path& directory, const Exec& exec);

  const ShardIndex& index() const { return index_; }
  int64_t n_sources() const { return int64_t(index_.sources.size()); }
  const std::string& source_name(int64_t source) const { return index_.sources[size_t(source)].name; }
  int64_t n_documents(Split split, int64_t source) const;
  int64_t n_tokens(Split split, int64_t source) const;  // without BOS and EOS
  int64_t n_raw_bytes(Split split, int64_t source) const;
  const DocumentRecord& document(Split split, int64_t source, int64_t document) const;
  void tokens(Split split, int64_t source, int64_t document, std::vector<int32_t>& out) const;  // replaces out
  // Whether a source's documents are samples of dialogues, with BOS and EOS as their template writes them, and which of
  // a sample's tokens are trained, a byte each (replaces out; empties it for a text).
  bool of_dialogues(int64_t source) const { return index_.sources[size_t(source)].format != SourceFormat::text; }
  void trained(Split split, int64_t source, int64_t document, std::vector<uint8_t>& out) const;
  int64_t n_trained(Split split, int64_t source) const;
  int32_t max_token() const { return max_token_; }

 private:
  struct FileStart {
    int64_t first_document = 0, file = 0;
  };
  struct Documents {  // of one split of one source
    std::vector<FileStart> files;
    int64_t n_documents = 0, n_tokens = 0, n_raw_bytes = 0, n_trained = 0;
  };
  const Documents& documents(Split split, int64_t source) const;
  const FileStart& file_of(Split split, int64_t source, int64_t document) const;
  ShardIndex index_;
  std::vector<ShardFile> files_;
  std::vector<Documents> documents_[2];  // [split][source]
  int32_t max_token_ = -1;
};

}  // namespace hadal::data
