// The corpus: every document of every source, in a fixed order, and what becomes of each.
// Order of decisions: empty documents are dropped; exact duplicates (128-bit hash of the bytes, the first one stays)
// are removed; a source's rules may refuse a document, or cut lines out of it (quality_rules.h); documents that hold
// evaluation items go (decontaminate.h), and of what is left near duplicates (near_duplicates.h). The rest is split
// into training and held-out text, so that no held-out document has a copy in training. holdout = "hash": a document is
// held out if its hash, as a number in [0, 1), is below the fraction (whatever its place or source); "tail": the last
// fraction of every document's bytes, cut at a character border. Where "hash" would hold out no document, or every one,
// as of a single file, tails are held out as well: whoever asks for held-out text wants to see a figure. A dialogue is
// held out whole or not at all. Order of documents: sources as configured, files by name, documents as they stand in
// the file.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "comm/group.h"
#include "config/config.h"
#include "data/document_reader.h"
#include "data/near_duplicates.h"

namespace hadal::data {

// A file of a source, as it was when it was read.
struct SourceFile {
  std::string path;
  int64_t bytes = 0;
  int64_t modified_ns = 0;
  uint64_t hash = 0;  // of the file's bytes; 0 until read
  int64_t n_documents = 0;
  std::string skipped;             // why a file of a directory or glob was passed over ("binary"), or empty
  std::optional<Form> form;        // what it was read as; none of an index that does not say
  std::vector<std::string> notes;  // what its name does not tell, each completing "PATH ..."
  std::vector<BadLine> bad_lines;  // the first of those that were passed over
};

struct SourceFiles {
  std::string name;
  std::string text_field;
  std::vector<SourceFile> files;
  std::vector<std::string> left_out;  // what directories and globs met and could not read, a sentence each
  SourceFormat format = SourceFormat::text;
};

// The name of a source in tables and files: as configured, else the last part of its first path.
std::string source_name(const DataConfig& config, size_t source);

// Lists the files of all sources with size and time. Throws not_found for a path that names nothing, invalid for no
// sources, a source without paths, or two sources of one name. A file named twice is taken once.
std::vector<SourceFiles> list_sources(const DataConfig& config);

constexpr const char* kScanInterrupted = "the next build continues where this one stopped";

enum class Fate : uint8_t { training, held_out, empty, duplicate, filtered, near_duplicate };

struct DocumentFacts {
  uint64_t hash = 0;  // first half of the 128-bit hash
  int64_t bytes = 0;
  Fate fate = Fate::training;
  bool whole = false;     // a dialogue: never divided, held out by its hash whatever the configuration says
  uint8_t to_border = 0;  // bytes that holdout = "tail" cuts off beside its fraction, down to a character's border
};

// What a rule of a source removed (quality_rules.h): documents that no rule before it had refused, and of these those
// that no other rule would refuse.
struct RuleCounts {
  int64_t documents = 0, bytes = 0, alone = 0;
};

struct SourceCounts {
  int64_t files = 0, skipped_files = 0;
  int64_t documents = 0, bytes = 0;  // as read
  int64_t bad_lines = 0;             // of JSON, passed over (data.on_bad_line)
  int64_t replaced = 0;              // lone surrogates that became U+FFFD
  int64_t empty = 0;
  int64_t duplicates = 0, duplicate_bytes = 0;
  int64_t filtered = 0, filtered_bytes = 0;
  int64_t cut_bytes = 0;                      // of lines that rules cut out of documents that stay
  std::map<std::string, RuleCounts> by_rule;  // "gopher_quality.min_words"
  int64_t refused = 0;  // dialogues from which nothing can be learned (dialogue_samples.h), among the two below
  int64_t training = 0, training_bytes = 0, training_tokens = 0;  // tokens without EOS and BOS; 0 until tokenised
  int64_t held_out = 0, held_out_bytes = 0, held_out_tokens = 0;  // tail mode: documents are counted on both sides
};

// Where a document's text is divided: [0, cut) is training text, [cut, bytes) is held out.
int64_t split_point(std::string_view text, const DocumentFacts& facts, const DataConfig& config);
int64_t split_point(const DocumentFacts& facts, const DataConfig& config);  // of one that was scanned
uint8_t to_border(std::string_view text, double holdout_fraction);          // DocumentFacts::to_border of it

struct ScanOptions {
  ThreadPool* pool = nullptr;  // null: the caller's thread alone; the corpus is the same
  double sample = 1;           // share of the documents that are looked at, by their hashes; below 1 for counts alone
  Group* ranks = nullptr;      // that divide the work, each calling scan(); null: this one alone
};

class Corpus {
 public:
  // Reads every document once, and those that may be near duplicates twice. Throws for a file that is missing,
  // unreadable or damaged, for a binary file named explicitly, for an evaluation file that is a source as well, and if
  // no training text is left. Memory: two batches of text (batches.h) and at most 200 bytes a document.
  // Of several ranks each reads its share of the files and has the same corpus afterwards, but for counts(), which are
  // whole on the first rank alone. An error of one rank ends the others' waits, and so all of them.
  static Corpus scan(const DataConfig& config, const ProgressOptions& progress = {}, const ScanOptions& options = {});

  // As it was applied: holdout is "tail" where "hash" held out nothing, or all.
  const DataConfig& config() const { return config_; }
  const std::vector<SourceFiles>& sources() const { return sources_; }
  const std::vector<SourceCounts>& counts() const { return counts_; }
  std::vector<SourceCounts>& counts() { return counts_; }
  int64_t n_documents() const { return int64_t(facts_.size()); }
  const DocumentFacts& facts(int64_t document) const { return facts_[size_t(document)]; }
  int64_t first_document(int64_t source) const { return first_document_[size_t(source)]; }  // source may be n_sources
  int64_t training_bytes() const;
  const std::vector<NearDuplicate>& near_duplicates() const { return near_duplicates_; }  // by document
  // Hashes of groups of words of evaluation items that are common in it (common_groups.h), ascending.
  const std::vector<uint64_t>& common_groups() const { return common_groups_; }
  const std::vector<std::string>& notes() const { return notes_; }  // of the rules, sentences
  // 64 hexadecimal digits over every document's hash and fate, sources and rules' results: equal for equal corpora.
  const std::string& fingerprint() const { return fingerprint_; }

  // Documents again, from `first` (a corpus-wide number) on. The visitor returns false to stop. Throws corrupt if a
  // file no longer holds what scan() saw.
  using Visitor = std::function<bool(int64_t document, const std::string& text)>;
  void read(int64_t first, const Visitor& visit) const;
  std::string place_of(int64_t document) const;  // "'FILE' line N"; reads its file again

  // Training text alone, document by document (held-out bytes cut off), up to max_bytes (0 = all): next(text) as
  // BpeTrainer::add_texts wants it. The corpus must outlive the function.
  std::function<bool(std::string&)> training_texts(int64_t max_bytes = 0) const;

  // Table of documents, bytes and tokens per source; tokens are left out while unknown.
  static std::string table(const std::vector<SourceFiles>& sources, const std::vector<SourceCounts>& counts);

 private:
  friend class Scan;
  DataConfig config_;
  std::vector<SourceFiles> sources_;
  std::vector<SourceCounts> counts_;
  std::deque<DocumentFacts> facts_;  // no vector: one that grows takes three times its size
  std::vector<NearDuplicate> near_duplicates_;
  std::vector<uint64_t> common_groups_;
  std::vector<std::string> notes_;
  std::vector<int64_t> first_document_;
  std::string fingerprint_;
};

}  // namespace hadal::data
