// The first reading of a corpus: one document after another, in corpus order, with what is known of it at once: its
// hash, and whether it stood before. Notes in the lists of files what is found on the way.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/corpus.h"
#include "data/document_hash.h"
#include "data/document_reader.h"
#include "data/features.h"

namespace hadal::data {

struct ReadDocument {
  std::string text;
  int64_t document = 0;  // corpus-wide
  size_t source = 0;
  uint8_t to_border = 0;
  bool is_new = false;  // neither empty nor a copy of an earlier one
  DocumentFeatures features;
  int64_t bytes() const { return int64_t(text.size()); }
};

// The first document of each hash. A document takes 4 bytes in a table that is never more than 70 % full; the hashes
// are the caller's.
class FirstDocuments {
 public:
  // Whether no document before it has the hash of `document`. hash_of(document) is that of an earlier one.
  template <class HashOf>
  bool add(const Hash128& hash, int64_t document, HashOf hash_of) {
    if (n_ * 10 >= slots_.size() * 7) grow(hash_of);
    uint32_t& slot = slots_[slot_of(hash, hash_of)];
    if (slot != 0) return false;
    slot = uint32_t(document) + 1, ++n_;
    return true;
  }
  void clear() { slots_ = {}, n_ = 0; }

 private:
  template <class HashOf>
  size_t slot_of(const Hash128& hash, HashOf hash_of) const {
    size_t slot = size_t(hash.a) & (slots_.size() - 1);
    while (slots_[slot] != 0 && !(hash_of(slots_[slot] - 1) == hash)) slot = (slot + 1) & (slots_.size() - 1);
    return slot;
  }
  template <class HashOf>
  void grow(HashOf hash_of) {
    std::vector<uint32_t> before(std::max<size_t>(1024, slots_.size() * 2));
    before.swap(slots_);
    for (const uint32_t number : before)
      if (number != 0) slots_[slot_of(hash_of(number - 1), hash_of)] = number;
  }

  std::vector<uint32_t> slots_;  // number + 1; a power of two
  size_t n_ = 0;
};

class CorpusReader {
 public:
  // Fills sources and counts (files, documents, bytes, empty ones and copies) as it goes, and its own lists. sample:
  // the share of the documents that are looked at, by hash.
  CorpusReader(const DataConfig& config, double sample, std::vector<SourceFiles>& sources,
               std::vector<SourceCounts>& counts, const ProgressOptions& progress);
  bool next(ReadDocument& document);
  void finish() { progress_.finish(), firsts_.clear(); }

  std::deque<DocumentFacts> facts;
  std::deque<uint64_t> second_hashes;  // the other half
  std::vector<int64_t> first_document;

 private:
  bool open_next_file();
  void close_file();
  bool take(ReadDocument& document);
  const SourceConfig& source() const { return config_.sources[source_]; }
  SourceFile& file() { return sources_[source_].files[file_]; }

  const DataConfig& config_;
  double sample_;
  std::vector<SourceFiles>& sources_;
  std::vector<SourceCounts>& counts_;
  Progress progress_;
  FirstDocuments firsts_;
  size_t source_ = 0, file_ = 0;
  std::unique_ptr<DocumentReader> reader_;
  bool named_ = false;  // the file, by the user
  bool text_found_ = false;
  int64_t before_ = 0;  // bytes of the files that were read
  size_t left_to_list_ = size_t(kBadLinesListed);
};

}  // namespace hadal::data
