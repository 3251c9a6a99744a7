// Documents that rules removed, one by one: what `hadal data explain --removed` shows.
#pragma once
#include <string>
#include <vector>

#include "base/progress.h"
#include "data/corpus.h"
#include "data/quality_rules.h"

namespace hadal::data {

struct RemovedDocument {
  std::string source, place;  // place: 'FILE' line N
  Refusal refusal;
  std::vector<std::string> others;  // rules that would refuse it too
  std::string begin;                // its first characters, in one line
  std::vector<std::string> beside;  // what it was held against: the evaluation item, the document that stays
};

struct RemovedDocuments {
  std::vector<RemovedDocument> shown;
  int64_t n = 0;                // in all
  std::string largest_cluster;  // of near duplicates, a sentence with its least similar pair; or empty
};

// The first `most` documents that rule `rule` (or one whose name begins so; empty: any) removed, in corpus order. Reads
// the sources twice. Throws what Corpus::scan() throws.
RemovedDocuments removed_documents(const DataConfig& config, const std::string& rule, int64_t most,
                                   const ProgressOptions& progress = {}, const ScanOptions& options = {});

std::string removed_text(const RemovedDocuments& removed);
std::string removed_html(const RemovedDocuments& removed);  // a page of its own

}  // namespace hadal::data
