// The first reading of a rank's share of a corpus: one document after another, in corpus order, with what is known of
// it at once: its hash, and whether it stood in the share before. Notes in the lists of files what is found on the way.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/corpus.h"
#include "data/document_reader.h"
#include "data/features.h"
#include "data/file_shares.h"
#include "data/first_documents.h"

namespace hadal::data {

// What a document tells by itself; what becomes of it is decided from these in corpus order (corpus_ledger.h).
struct Finding {
  Hash128 hash;
  int64_t bytes = 0, left = 0;  // as read, and behind rules that cut lines
  uint16_t rule = 0;            // that refuses it: its place in Findings::rules and 1; 0: none
  uint8_t to_border = 0;        // DocumentFacts::to_border
  bool alone = false;           // no other rule would refuse it
  bool copy = false;            // of an earlier one of the share
};
static_assert(sizeof(Finding) == 40);

// Of a file, beside what its SourceFile holds.
struct FileCounts {
  int64_t replaced = 0, bad_lines = 0;
};

struct Findings {
  std::deque<Finding> documents;  // of the share, in order
  std::vector<std::string> rules;
  std::vector<FileCounts> files;  // of the share, in order
};

struct ReadDocument {
  std::string text;
  int64_t number = 0;  // in the share
  size_t source = 0;
  uint8_t to_border = 0;
  bool is_new = false;  // neither empty nor a copy of an earlier one
  DocumentFeatures features;
  int64_t bytes() const { return int64_t(text.size()); }
};

class CorpusReader {
 public:
  // Of the files `share` of `sources`. sample: the share of the documents that are looked at, by hash.
  CorpusReader(const DataConfig& config, double sample, std::vector<SourceFiles>& sources, std::vector<FilePlace> share,
               Progress& progress);
  // Enters it in findings.documents, as one that stays whole. Throws what is wrong with files and lines.
  bool next(ReadDocument& document);
  void finish() { firsts_.clear(); }

  Findings findings;

 private:
  bool open_next_file();
  void close_file();
  bool take(ReadDocument& document);
  const SourceConfig& source() const { return config_.sources[share_[at_].source]; }
  SourceFile& file() { return sources_[share_[at_].source].files[share_[at_].file]; }

  const DataConfig& config_;
  double sample_;
  std::vector<SourceFiles>& sources_;
  std::vector<FilePlace> share_;
  Progress& progress_;
  FirstDocuments firsts_;
  size_t at_ = 0;
  std::unique_ptr<DocumentReader> reader_;
  bool named_ = false;  // the file, by the user
  bool text_found_ = false;
  int64_t before_ = 0;  // bytes of the files that were read
  size_t left_to_list_ = size_t(kBadLinesListed);
};

}  // namespace hadal::data
