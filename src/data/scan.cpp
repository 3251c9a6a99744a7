// Corpus::scan() in two passes: features of documents by all threads, as they are read (features.h); then decisions, in
// corpus order. Documents that may be near duplicates are read once more in between, to compare them.
#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/text_format.h"
#include "data/batches.h"
#include "data/common_groups.h"
#include "data/corpus.h"
#include "data/corpus_reader.h"
#include "data/evaluation_items.h"
#include "data/walk.h"

namespace hadal::data {
namespace {

// "; passed over: 2 binary, 1 a PDF document", or nothing.
std::string skipped_in_words(const std::vector<SourceFiles>& sources) {
  std::map<std::string, int64_t> kinds;
  for (const auto& source : sources)
    for (const auto& file : source.files)
      if (!file.skipped.empty()) ++kinds[file.skipped];
  std::string text;
  for (const auto& [found, n] : kinds) {
    std::string kind = found;
    for (const std::string article : {"a ", "an "})
      if (kind.starts_with(article)) kind.erase(0, article.size());
    for (const char* noun : {"document", "file", "archive"})
      if (n > 1 && kind.ends_with(noun)) kind += "s";
    text += fmt::format("{}{} {}", text.empty() ? "; passed over: " : ", ", n, kind);
  }
  return text;
}

// "; most by gopher_quality.min_words (12)", or nothing.
std::string rule_in_words(const std::vector<SourceCounts>& counts) {
  std::map<std::string, int64_t> removed;
  for (const SourceCounts& c : counts)
    for (const auto& [rule, by] : c.by_rule) removed[rule] += by.documents;
  const auto most = std::max_element(removed.begin(), removed.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == removed.end() ? "" : fmt::format("; most by the rule {} ({})", most->first, most->second);
}

void add_split(SourceCounts& counts, const SourceCounts& more) {
  counts.training += more.training, counts.training_bytes += more.training_bytes;
  counts.held_out += more.held_out, counts.held_out_bytes += more.held_out_bytes;
}

SourceCounts split_of(const DocumentFacts& facts, const DataConfig& config) {
  const int64_t cut = split_point(facts, config);
  SourceCounts one;
  one.training = cut > 0, one.training_bytes = cut;
  one.held_out = cut < facts.bytes, one.held_out_bytes = facts.bytes - cut;
  return one;
}

DataConfig with_tails(DataConfig config) {
  config.holdout = Holdout::tail;
  return config;
}

// What is trained on must not be what is asked for afterwards.
void check_no_source_is_asked_for(const DataConfig& config, const std::vector<SourceFiles>& sources) {
  const auto real = [](const std::string& path) {
    std::error_code code;
    const std::filesystem::path whole = std::filesystem::weakly_canonical(path, code);
    return code ? path : whole.string();
  };
  std::map<std::string, const SourceFiles*> texts;
  for (const std::string& path : evaluation_files(config.decontaminate)) texts.emplace(real(path), nullptr);
  for (const SourceFiles& source : sources)
    for (const SourceFile& file : source.files)
      check(!texts.contains(real(file.path)), ErrorKind::invalid,
            "'{}' is an evaluation file of data.decontaminate and a text of source '{}' as well: all of it would be "
            "removed; take it out of one of the two",
            file.path, source.name);
}

}  // namespace

class Scan {
 public:
  Scan(Corpus& corpus, const ProgressOptions& progress, const ScanOptions& options)
      : corpus_(corpus),
        config_(corpus.config_),
        progress_(progress),
        options_(options),
        features_(config_),
        common_(config_.decontaminate),
        near_(config_.near_duplicates),
        reader_(config_, options.sample, corpus.sources_, corpus.counts_, progress) {}

  void run() {
    const auto read = [&](ReadDocument& document) { return reader_.next(document); };
    in_batches<ReadDocument>(
        options_.pool, read, [&](ReadDocument& document) { look_at(document); },
        [&](const ReadDocument& document) { take(document); });
    reader_.finish();
    remove_contaminated();
    find_near_duplicates();
    corpus_.facts_ = std::move(reader_.facts);
    corpus_.first_document_ = std::move(reader_.first_document);
    decide();
    add_notes();
  }

 private:
  void look_at(ReadDocument& document) const {
    if (!document.is_new) return;
    document.features = features_.of(document.text, document.source);
    document.to_border = to_border(document.text, config_.holdout_fraction);
  }

  void take(const ReadDocument& document) {
    if (!document.is_new) return;
    DocumentFacts& facts = reader_.facts[size_t(document.document)];
    SourceCounts& counts = corpus_.counts_[document.source];
    if (const auto& met = document.features.met; !met.empty()) {
      const auto& refusals = document.features.refusals;
      common_.add({document.document, facts.bytes, document.source, refusals.empty() ? "" : refusals.front().rule},
                  met);
    }
    if (const auto& refusals = document.features.refusals; !refusals.empty()) {
      facts.fate = Fate::filtered;
      count_removed(counts, refusals.front().rule, facts.bytes, refusals.size() == 1);
      return;
    }
    counts.cut_bytes += facts.bytes - document.bytes();
    facts.bytes = document.bytes(), facts.to_border = document.to_border;
    if (document.features.keys.empty()) return;
    const bool of_source = config_.near_duplicates.across == Across::source;
    near_.add(document.document, document.features.keys, of_source ? document.source + 1 : 0);
  }

  // Those that hold evaluation items beyond what is common; until now they counted as documents that stay.
  void remove_contaminated() {
    for (const Suspect& suspect : common_.contaminated()) {
      SourceCounts& counts = corpus_.counts_[suspect.source];
      DocumentFacts& facts = reader_.facts[size_t(suspect.document)];
      if (!suspect.rule.empty()) {  // refused already, and now not by that rule alone
        counts.by_rule[suspect.rule].alone -= 1;
        continue;
      }
      counts.cut_bytes -= suspect.bytes - facts.bytes;
      facts.fate = Fate::filtered, facts.bytes = suspect.bytes;
      near_.forget(suspect.document);
      count_removed(counts, contamination_rule(!suspect.by_ngram), facts.bytes, true);
    }
    corpus_.common_groups_ = common_.hashes();
  }

  static void count_removed(SourceCounts& counts, const std::string& rule, int64_t bytes, bool alone) {
    RuleCounts& by = counts.by_rule[rule];
    by.documents += 1, by.bytes += bytes, by.alone += alone;
    counts.filtered += 1, counts.filtered_bytes += bytes;
  }

  struct Compared {
    std::string text;
    size_t source = 0;
    std::vector<uint64_t> groups;
    int64_t bytes() const { return int64_t(text.size()); }
  };

  void find_near_duplicates() {
    const std::vector<uint32_t> candidates = near_.candidates();
    if (candidates.empty()) return;
    Progress progress("comparing", int64_t(candidates.size()), {.unit = "documents", .quiet = progress_.quiet});
    Walk walk(corpus_.sources_, config_.on_bad_line, candidates.front(), options_.sample);
    size_t at = 0;
    const auto read = [&](Compared& one) {
      if (at == candidates.size()) return false;
      stop_if_interrupted(kScanInterrupted);
      const int64_t document = candidates[at++];
      walk.skip_to(document);
      check(walk.next(one.text), ErrorKind::internal, "document {} is gone", document);
      walk.check_unchanged(one.text, reader_.facts[size_t(document)]);
      one.source = walk.source();
      return true;
    };
    const auto work = [&](Compared& one) {
      features_.cut(one.text, one.source);
      one.groups = features_.groups(one.text, one.source);
    };
    in_batches<Compared>(options_.pool, read, work, [&](const Compared& one) {
      near_.add_groups(one.groups);
      progress.add(1);
    });
    corpus_.near_duplicates_ = near_.decide();
    for (const NearDuplicate& gone : corpus_.near_duplicates_) reader_.facts[gone.document].fate = Fate::near_duplicate;
    progress.finish();
  }

  // Which of those that stay are held out; counts, and the fingerprint.
  void decide() {
    std::vector<SourceCounts> tails(corpus_.counts_.size());  // what holding out tails would give
    const DataConfig tail_config = with_tails(config_);
    Sha256 digest;
    for (size_t s = 0; s < corpus_.sources_.size(); ++s) {
      digest.update(corpus_.sources_[s].name), digest.update("\n");
      SourceCounts& counts = corpus_.counts_[s];
      for (int64_t d = corpus_.first_document_[s]; d < corpus_.first_document_[s + 1]; ++d) {
        DocumentFacts& facts = corpus_.facts_[size_t(d)];
        if (facts.fate == Fate::near_duplicate) count_removed(counts, kNearDuplicateRule, facts.bytes, true);
        if (facts.fate == Fate::training) {
          DocumentFacts with_tail = facts;
          const bool by_hash = facts.whole || config_.holdout == Holdout::hash;
          if (by_hash && as_share(facts.hash) < config_.holdout_fraction) facts.fate = Fate::held_out;
          if (facts.whole) with_tail.fate = facts.fate;
          add_split(counts, split_of(facts, config_));
          add_split(tails[s], split_of(with_tail, tail_config));
        }
        const Hash128 hash{facts.hash, reader_.second_hashes[size_t(d)]};
        digest.update(&hash, sizeof hash);
        digest.update(&facts.fate, 1);
      }
    }
    if (hold_out_tails(tails)) corpus_.config_.holdout = Holdout::tail, digest.update("tail");
    corpus_.fingerprint_ = digest.hex();
  }

  // Where hashes hold out no document, or every one: holds out the tail of each instead. Returns whether it did.
  bool hold_out_tails(const std::vector<SourceCounts>& tails) {
    SourceCounts by_hash, by_tail;
    for (const SourceCounts& c : corpus_.counts_) add_split(by_hash, c);
    for (const SourceCounts& c : tails) add_split(by_tail, c);
    if (config_.holdout != Holdout::hash || config_.holdout_fraction <= 0) return false;
    if (by_hash.held_out_bytes > 0 && by_hash.training_bytes > 0) return false;
    if (by_tail.held_out_bytes == 0 || by_tail.training_bytes == 0) return false;
    for (DocumentFacts& document : corpus_.facts_)
      if (document.fate == Fate::held_out && !document.whole) document.fate = Fate::training;
    for (size_t s = 0; s < tails.size(); ++s) {
      SourceCounts& c = corpus_.counts_[s];
      c.training = c.held_out = c.training_bytes = c.held_out_bytes = 0;
      add_split(c, tails[s]);
    }
    return true;
  }

  void add_notes() {
    if (!features_.decontaminator().empty()) corpus_.notes_.push_back(features_.decontaminator().summary());
    if (const std::string common = common_.summary(features_.decontaminator()); !common.empty())
      corpus_.notes_.push_back(common);
    if (near_.n_broken_off() > 0)
      corpus_.notes_.push_back(fmt::format(
          "near duplicates: {} documents were not compared with all of a bucket, which holds thousands that are not "
          "alike; set more data.near_duplicates.hashes",
          format_count(near_.n_broken_off())));
  }

  Corpus& corpus_;
  const DataConfig config_;
  const ProgressOptions& progress_;
  const ScanOptions& options_;
  const FeatureMaker features_;
  CommonGroups common_;
  NearDuplicates near_;
  CorpusReader reader_;
};

Corpus Corpus::scan(const DataConfig& config, const ProgressOptions& progress, const ScanOptions& options) {
  Corpus corpus;
  corpus.config_ = config;
  corpus.sources_ = list_sources(config);
  check_no_source_is_asked_for(config, corpus.sources_);
  Scan(corpus, progress, options).run();
  if (options.sample < 1) return corpus;
  int64_t held_out = 0, documents = 0;
  for (const auto& counts : corpus.counts_) held_out += counts.held_out, documents += counts.documents;
  check(corpus.training_bytes() > 0 || held_out == 0, ErrorKind::invalid,
        "all text is held out, none is left for training: lower data.holdout_fraction ({}) or set data.holdout to "
        "\"tail\"",
        config.holdout_fraction);
  check(corpus.training_bytes() > 0, ErrorKind::invalid,
        "the sources hold no text ({} documents, all empty or removed){}{}", documents, rule_in_words(corpus.counts_),
        skipped_in_words(corpus.sources_));
  return corpus;
}

}  // namespace hadal::data
