// What a document tells by itself, whatever the others are: which rules refuse it, which evaluation item it holds, and
// by what it is known among near duplicates. Asked by many threads at once.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "data/decontaminate.h"
#include "data/min_hash.h"
#include "data/quality_rules.h"

namespace hadal::data {

constexpr const char* kDecontaminateRule = "decontaminate";  // .ngram, .short_item
constexpr const char* kNearDuplicateRule = "near_duplicates";

std::string contamination_rule(bool whole_item);

struct DocumentFeatures {
  std::vector<Refusal> refusals;  // the first that fired, and one more if another would refuse it too
  std::vector<MetGroup> met;      // where it is not known yet which of them are common: instead of a refusal
  std::vector<uint64_t> keys;     // of its buckets; empty where it is not compared with others
};

class FeatureMaker {
 public:
  // Reads the evaluation files, if there are any. common: of the whole corpus (Corpus::common_groups()); null while it
  // is being read.
  explicit FeatureMaker(const DataConfig& config, const std::vector<uint64_t>* common = nullptr);

  // Of a document of a source. Of one that stays, `text` is what rules leave of it.
  DocumentFeatures of(std::string& text, size_t source) const;
  // All that would refuse it, in order.
  std::vector<Refusal> refusals(std::string_view text, size_t source) const;
  void cut(std::string& text, size_t source) const { rules_[source].cut(text); }
  bool cuts(size_t source) const { return rules_[source].cut_lines(); }

  // Of a text as it is left: the set of its groups of words, ascending; near duplicates have much of it in common.
  std::vector<uint64_t> groups(const std::string& text, size_t source) const;
  bool folds_numbers(size_t source) const;
  const Decontaminator& decontaminator() const { return decontaminator_; }
  // What is compared of a document: its text, or what is said in a dialogue.
  std::string words_in(const std::string& text, size_t source) const;

 private:
  std::vector<Refusal> ask(std::string& text, size_t source, size_t most, std::optional<SplitText>& split) const;

  const DataConfig& config_;
  bool only_meets_;                  // groups of evaluation items: which of them are common is not known
  std::vector<QualityRules> rules_;  // by source
  Decontaminator decontaminator_;
  MinHash min_hash_;
};

}  // namespace hadal::data
