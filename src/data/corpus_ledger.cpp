// See corpus_ledger.h.
#include "data/corpus_ledger.h"

#include "base/error.h"

namespace hadal::data {

CorpusLedger::CorpusLedger(const DataConfig& config, size_t n_sources, bool several_shares)
    : first_document(n_sources + 1), counts(n_sources), config_(config), several_shares_(several_shares) {}

void CorpusLedger::take(size_t source, const Finding& found, const std::vector<std::string>& rules) {
  check(facts.size() < size_t(UINT32_MAX), ErrorKind::unsupported, "a corpus has at most {} documents", UINT32_MAX);
  const bool copy = is_copy(found);
  DocumentFacts& of = facts.emplace_back();
  second_hashes.push_back(found.hash.b);
  of.hash = found.hash.a, of.bytes = found.bytes, of.whole = config_.sources[source].format != SourceFormat::text;
  SourceCounts& count = counts[source];
  count.documents += 1, count.bytes += of.bytes;
  if (found.bytes == 0) {
    of.fate = Fate::empty, count.empty += 1;
  } else if (copy) {
    of.fate = Fate::duplicate, count.duplicates += 1, count.duplicate_bytes += of.bytes;
  } else if (found.rule != 0) {
    of.fate = Fate::filtered;
    count_removed(count, rules[found.rule - 1u], of.bytes, found.alone);
  } else {
    count.cut_bytes += found.bytes - found.left;
    of.bytes = found.left, of.to_border = found.to_border;
  }
}

bool CorpusLedger::is_copy(const Finding& found) {
  if (found.copy || !several_shares_ || found.bytes == 0) return found.copy;
  return !firsts_.add(found.hash, int64_t(facts.size()), [&](uint32_t earlier) {
    return Hash128{facts[earlier].hash, second_hashes[earlier]};
  });
}

void CorpusLedger::take_file(size_t source, SourceFile& file, const FileCounts& of_file) {
  SourceCounts& count = counts[source];
  count.files += 1, count.skipped_files += !file.skipped.empty();
  count.replaced += of_file.replaced, count.bad_lines += of_file.bad_lines;
  if (file.bad_lines.size() > left_to_list_) file.bad_lines.resize(left_to_list_);
  left_to_list_ -= file.bad_lines.size();
}

void CorpusLedger::finish() {
  first_document.back() = int64_t(facts.size());
  firsts_.clear();
}

void count_removed(SourceCounts& counts, const std::string& rule, int64_t bytes, bool alone) {
  RuleCounts& by = counts.by_rule[rule];
  by.documents += 1, by.bytes += bytes, by.alone += alone;
  counts.filtered += 1, counts.filtered_bytes += bytes;
}

}  // namespace hadal::data
