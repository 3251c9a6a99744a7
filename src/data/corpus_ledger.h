// Findings of documents become facts, in corpus order, as if one rank had read them all: which are copies, which a rule
// refuses, and the counts of both.
#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/corpus_reader.h"
#include "data/first_documents.h"

namespace hadal::data {

class CorpusLedger {
 public:
  // several_shares: documents of one may be copies of another's. With one, its reader has seen all copies.
  CorpusLedger(const DataConfig& config, size_t n_sources, bool several_shares);

  void begin_source(size_t source) { first_document[source] = int64_t(facts.size()); }
  // The next document; `rules` are those of its share.
  void take(size_t source, const Finding& found, const std::vector<std::string>& rules);
  // A file that was read to its end: its counts, and how many of its bad lines are listed.
  void take_file(size_t source, SourceFile& file, const FileCounts& of_file);
  void finish();  // behind the last document

  std::deque<DocumentFacts> facts;     // no vector: one that grows takes three times its size
  std::deque<uint64_t> second_hashes;  // the other half
  std::vector<int64_t> first_document;
  std::vector<SourceCounts> counts;

 private:
  bool is_copy(const Finding& found);

  const DataConfig& config_;
  bool several_shares_;
  FirstDocuments firsts_;
  size_t left_to_list_ = size_t(kBadLinesListed);
};

void count_removed(SourceCounts& counts, const std::string& rule, int64_t bytes, bool alone);

}  // namespace hadal::data
