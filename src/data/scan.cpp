// Corpus::scan() in two passes: features of documents by all ranks and threads, as they are read (features.h); then
// decisions, in corpus order. Documents that may be near duplicates are read once more in between, to compare them.
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
#include "data/corpus_ledger.h"
#include "data/corpus_reader.h"
#include "data/evaluation_items.h"
#include "data/gather_findings.h"
#include "data/near_duplicate_search.h"
#include "data/rank_progress.h"

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
  Scan(Corpus& corpus, const ProgressOptions& progress, const ScanOptions& options, Group& ranks)
      : corpus_(corpus),
        config_(corpus.config_),
        progress_(progress),
        options_(options),
        ranks_(ranks),
        features_(config_),
        common_(config_.decontaminate),
        keys_(config_.near_duplicates.buckets),
        ledger_(config_, corpus.sources_.size(), ranks.size() > 1) {}

  void run() {
    const FileShares shares(corpus_.sources_, ranks_.size());
    Findings own = read_share(shares);
    gather_findings(ranks_, shares, std::move(own), corpus_.sources_, ledger_);
    remove_contaminated(shares);
    if (config_.near_duplicates.across != Across::off) find_near(shares);
    corpus_.counts_ = std::move(ledger_.counts);
    corpus_.facts_ = std::move(ledger_.facts);
    corpus_.first_document_ = std::move(ledger_.first_document);
    decide();
    add_notes();
  }

 private:
  Findings read_share(const FileShares& shares) {
    const std::vector<FilePlace> share = shares.of_rank(ranks_.rank());
    int64_t bytes = 0;
    for (const FilePlace& place : share) bytes += corpus_.sources_[place.source].files[place.file].bytes;
    Progress progress(progress_label(ranks_, "reading"), bytes, progress_);
    CorpusReader reader(config_, options_.sample, corpus_.sources_, share, progress);
    const auto read = [&](ReadDocument& document) { return reader.next(document); };
    findings_ = &reader.findings;
    in_batches<ReadDocument>(
        options_.pool, read, [&](ReadDocument& document) { look_at(document); },
        [&](const ReadDocument& document) { take(document); });
    reader.finish();
    progress.finish();
    return std::move(reader.findings);
  }

  void look_at(ReadDocument& document) const {
    if (!document.is_new) return;
    document.features = features_.of(document.text, document.source);
    document.to_border = to_border(document.text, config_.holdout_fraction);
  }

  void take(const ReadDocument& document) {
    if (!document.is_new) return;
    Finding& found = findings_->documents[size_t(document.number)];
    if (const auto& met = document.features.met; !met.empty()) {
      const auto& refusals = document.features.refusals;
      suspect({document.number, found.bytes, document.source, refusals.empty() ? "" : refusals.front().rule}, met);
    }
    if (const auto& refusals = document.features.refusals; !refusals.empty()) {
      found.rule = number_of(refusals.front().rule), found.alone = refusals.size() == 1;
      return;
    }
    found.left = document.bytes(), found.to_border = document.to_border;
    if (document.features.keys.empty()) return;
    const bool of_source = config_.near_duplicates.across == Across::source;
    keys_.add(document.number, document.features.keys, of_source ? document.source + 1 : 0);
  }

  uint16_t number_of(const std::string& rule) {  // as Finding::rule
    std::vector<std::string>& rules = findings_->rules;
    const auto at = std::find(rules.begin(), rules.end(), rule);
    const auto number = uint16_t(at - rules.begin() + 1);
    if (at == rules.end()) rules.push_back(rule);
    return number;
  }

  // One rank leaves out at once what is common already; of several none knows how many documents of others are copies.
  void suspect(Suspect suspect, const std::vector<MetGroup>& met) {
    if (ranks_.size() == 1)
      common_.add(std::move(suspect), met);
    else
      suspects_.push_back({std::move(suspect), met});
  }

  // Those that hold evaluation items beyond what is common; until now they counted as documents that stay.
  void remove_contaminated(const FileShares& shares) {
    if (ranks_.size() > 1) {
      ShareNumbers numbers(shares, ranks_.rank(), corpus_.sources_);
      for (MetSuspect& one : suspects_) one.suspect.document = numbers.in_corpus(one.suspect.document);
      std::erase_if(suspects_, [&](const MetSuspect& one) {
        return ledger_.facts[size_t(one.suspect.document)].fate == Fate::duplicate;
      });
      for (MetSuspect& one : gather_suspects(ranks_, std::exchange(suspects_, {})))
        common_.add(std::move(one.suspect), one.met);
    }
    for (const Suspect& suspect : common_.contaminated()) {
      SourceCounts& counts = ledger_.counts[suspect.source];  // the first rank's
      DocumentFacts& facts = ledger_.facts[size_t(suspect.document)];
      if (!suspect.rule.empty()) {  // refused already, and now not by that rule alone
        counts.by_rule[suspect.rule].alone -= 1;
        continue;
      }
      counts.cut_bytes -= suspect.bytes - facts.bytes;
      facts.fate = Fate::filtered, facts.bytes = suspect.bytes;
      count_removed(counts, contamination_rule(!suspect.by_ngram), facts.bytes, true);
    }
    corpus_.common_groups_ = common_.hashes();
  }

  void find_near(const FileShares& shares) {
    number_as_in_corpus(shares);
    NearDuplicatesFound found = find_near_duplicates(
        ranks_, {config_, features_, corpus_.sources_, ledger_.facts, options_.sample, options_.pool, progress_.quiet},
        std::move(keys_));
    n_broken_off_ = found.n_broken_off;
    corpus_.near_duplicates_ = std::move(found.gone);
    for (const NearDuplicate& gone : corpus_.near_duplicates_) ledger_.facts[gone.document].fate = Fate::near_duplicate;
  }

  // The keys of this rank's documents, numbered in its share so far; without those that do not stay.
  void number_as_in_corpus(const FileShares& shares) {
    ShareNumbers numbers(shares, ranks_.rank(), corpus_.sources_);
    keys_.renumber([&](uint32_t document) -> int64_t {
      const int64_t number = numbers.in_corpus(document);
      return ledger_.facts[size_t(number)].fate == Fate::training ? number : -1;
    });
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
        if (!ranks_.leads()) continue;
        const Hash128 hash{facts.hash, ledger_.second_hashes[size_t(d)]};
        digest.update(&hash, sizeof hash);
        digest.update(&facts.fate, 1);
      }
    }
    if (hold_out_tails(tails)) corpus_.config_.holdout = Holdout::tail, digest.update("tail");
    corpus_.fingerprint_ = digest.hex();  // the first rank's
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
    if (n_broken_off_ > 0)
      corpus_.notes_.push_back(fmt::format(
          "near duplicates: {} documents were not compared with all of a bucket, which holds thousands that are not "
          "alike; set more data.near_duplicates.hashes",
          format_count(n_broken_off_)));
  }

  Corpus& corpus_;
  const DataConfig config_;
  const ProgressOptions& progress_;
  const ScanOptions& options_;
  Group& ranks_;
  const FeatureMaker features_;
  CommonGroups common_;
  std::vector<MetSuspect> suspects_;  // of this rank's share, where there are several
  BucketKeys keys_;
  CorpusLedger ledger_;
  Findings* findings_ = nullptr;  // while reading
  int64_t n_broken_off_ = 0;
};

namespace {

void check_text_is_left(const Corpus& corpus, double holdout_fraction) {
  int64_t held_out = 0, documents = 0;
  for (const auto& counts : corpus.counts()) held_out += counts.held_out, documents += counts.documents;
  check(corpus.training_bytes() > 0 || held_out == 0, ErrorKind::invalid,
        "all text is held out, none is left for training: lower data.holdout_fraction ({}) or set data.holdout to "
        "\"tail\"",
        holdout_fraction);
  check(corpus.training_bytes() > 0, ErrorKind::invalid,
        "the sources hold no text ({} documents, all empty or removed){}{}", documents, rule_in_words(corpus.counts()),
        skipped_in_words(corpus.sources()));
}

}  // namespace

Corpus Corpus::scan(const DataConfig& config, const ProgressOptions& progress, const ScanOptions& options) {
  Group alone = Group::self();
  Group& ranks = options.ranks ? *options.ranks : alone;
  Corpus corpus;
  corpus.config_ = config;
  if (ranks.leads()) {
    corpus.sources_ = list_sources(config);
    check_no_source_is_asked_for(config, corpus.sources_);
  }
  tell_sources(ranks, corpus.sources_);
  ProgressOptions shown = progress;
  shown.quiet = progress.quiet || !ranks.leads();
  Scan(corpus, shown, options, ranks).run();
  if (ranks.leads() && options.sample >= 1) check_text_is_left(corpus, config.holdout_fraction);
  corpus.fingerprint_ = ranks.tell(0, corpus.fingerprint_);
  return corpus;
}

}  // namespace hadal::data
