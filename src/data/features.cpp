// See features.h.
#include "data/features.h"

#include <algorithm>

#include "data/dialogue.h"
#include "data/normal_words.h"

namespace hadal::data {

std::string contamination_rule(bool whole_item) {
  return std::string(kDecontaminateRule) + (whole_item ? ".short_item" : ".ngram");
}

FeatureMaker::FeatureMaker(const DataConfig& config, const std::vector<uint64_t>* common)
    : config_(config),
      only_meets_(config.decontaminate.common_above > 0 && common == nullptr),
      decontaminator_(config.decontaminate),
      min_hash_(config.near_duplicates.buckets, config.near_duplicates.hashes) {
  for (const SourceConfig& source : config.sources) rules_.emplace_back(source);
  if (common != nullptr) decontaminator_.leave_out(*common);
}

std::string FeatureMaker::words_in(const std::string& text, size_t source) const {
  return config_.sources[source].format == SourceFormat::text ? text : words_of_dialogue(text);
}

bool FeatureMaker::folds_numbers(size_t source) const {
  return config_.near_duplicates.fold_numbers && !config_.sources[source].keep_numbers;
}

std::vector<Refusal> FeatureMaker::ask(std::string& text, size_t source, size_t most,
                                       std::optional<SplitText>& split) const {
  std::vector<Refusal> found;
  if (!rules_[source].empty()) found = rules_[source].ask(text, most, split);
  if (found.size() >= most || decontaminator_.empty() || only_meets_) return found;
  if (!split) split.emplace(words_in(text, source));
  const auto item = decontaminator_.find(normal_words(split->characters, decontaminator_.config().fold_numbers));
  if (!item) return found;
  const int64_t limit = item->whole_item ? decontaminator_.config().min_words : decontaminator_.config().ngram;
  found.push_back({contamination_rule(item->whole_item), double(item->words), double(limit)});
  return found;
}

DocumentFeatures FeatureMaker::of(std::string& text, size_t source) const {
  DocumentFeatures features;
  std::optional<SplitText> split;
  features.refusals = ask(text, source, 2, split);
  if (only_meets_ && !decontaminator_.empty() && features.refusals.size() < 2) {
    if (!split) split.emplace(words_in(text, source));
    features.met = decontaminator_.all_in(normal_words(split->characters, decontaminator_.config().fold_numbers));
  }
  if (!features.refusals.empty() || config_.near_duplicates.across == Across::off) return features;
  if (!config_.sources[source].near_duplicates) return features;
  if (!split) split.emplace(words_in(text, source));
  const auto groups =
      word_groups(normal_words(split->characters, folds_numbers(source)), config_.near_duplicates.ngram);
  if (groups.empty()) return features;
  features.keys.resize(size_t(min_hash_.buckets()));
  min_hash_.keys(groups, features.keys.data());
  return features;
}

std::vector<Refusal> FeatureMaker::refusals(std::string_view text, size_t source) const {
  std::string copy(text);
  std::optional<SplitText> split;
  return ask(copy, source, SIZE_MAX, split);
}

std::vector<uint64_t> FeatureMaker::groups(const std::string& text, size_t source) const {
  const auto words = normal_words(characters_of(words_in(text, source)), folds_numbers(source));
  std::vector<uint64_t> groups = word_groups(words, config_.near_duplicates.ngram);
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  return groups;
}

}  // namespace hadal::data
