// See compared_documents.h.
#include "data/compared_documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "base/text_format.h"
#include "data/normal_words.h"

namespace hadal::data {
namespace {

constexpr size_t kWordsShown = 12;
constexpr int64_t kMembersCompared = 200;  // of the largest cluster, each with each

// Words of `mine` that `other` has fewer times, in their order.
std::string words_missing(const std::vector<std::string>& mine, const std::vector<std::string>& other) {
  std::unordered_map<std::string, int64_t> there;
  for (const std::string& word : other) ++there[word];
  std::string text;
  size_t n = 0;
  for (const std::string& word : mine) {
    if (--there[word] >= 0) continue;
    if (++n <= kWordsShown) text += (text.empty() ? "" : " ") + word;
  }
  if (n == 0) return "no word";
  return n <= kWordsShown ? text : fmt::format("{} … and {} more", text, n - kWordsShown);
}

}  // namespace

void ComparedDocuments::want(const NearDuplicate& pair) {
  firsts_[pair.first];
  first_of_[pair.document] = pair.first;
}

void ComparedDocuments::want_largest_cluster() {
  std::map<uint32_t, int64_t> sizes;
  for (const NearDuplicate& gone : corpus_.near_duplicates()) ++sizes[gone.first];
  const auto largest =
      std::max_element(sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (largest == sizes.end()) return;
  cluster_size_ = largest->second + 1;
  cluster_groups_[largest->first];
  for (const NearDuplicate& gone : corpus_.near_duplicates())
    if (gone.first == largest->first && int64_t(cluster_groups_.size()) < kMembersCompared)
      cluster_groups_[gone.document];
}

std::string ComparedDocuments::as_left(std::string text, size_t source) const {
  features_.cut(text, source);
  return text;
}

void ComparedDocuments::take(int64_t document, size_t source, const std::string& text) {
  const auto first = firsts_.find(document);
  const auto member = cluster_groups_.find(document);
  if (first == firsts_.end() && member == cluster_groups_.end()) return;
  const bool gone = corpus_.facts(document).fate == Fate::near_duplicate;  // the others are read as they are left
  const std::string left = gone ? as_left(text, source) : text;
  if (first != firsts_.end()) first->second = {source, left};
  if (member != cluster_groups_.end()) member->second = features_.groups(left, source);
}

std::vector<std::string> ComparedDocuments::spellings(const std::string& text, size_t source) const {
  const std::vector<uint32_t> characters = characters_of(features_.words_in(text, source));
  const bool folds = features_.folds_numbers(source);
  std::vector<std::string> words;
  for (const NormalWord& word : normal_words(characters, folds))
    words.push_back(normal_spelling(characters, word, folds));
  return words;
}

std::vector<std::string> ComparedDocuments::beside_first(int64_t document, size_t source, const std::string& text,
                                                         double& similarity) const {
  const int64_t number = first_of_.at(document);
  const Kept& first = firsts_.at(number);
  const std::string left = as_left(text, source);
  similarity = jaccard(features_.groups(left, source), features_.groups(first.text, first.source));
  std::vector<std::string> lines{fmt::format("stays: {}", corpus_.place_of(number))};
  if (similarity < corpus_.config().near_duplicates.threshold)
    lines.back() += "; the two are joined by others between them";
  const auto here = spellings(left, source), there = spellings(first.text, first.source);
  lines.push_back(
      fmt::format("here alone: {}; there alone: {}", words_missing(here, there), words_missing(there, here)));
  return lines;
}

std::vector<std::string> ComparedDocuments::evaluation_item(const std::string& text, size_t source) const {
  const Decontaminator& decontaminator = features_.decontaminator();
  const bool folds = decontaminator.config().fold_numbers;
  const std::vector<uint32_t> characters = characters_of(features_.words_in(as_left(text, source), source));
  const std::vector<NormalWord> words = normal_words(characters, folds);
  const auto found = decontaminator.find(words);
  if (!found) return {};
  std::string shared;
  for (int64_t i = found->at; i < found->at + found->words; ++i)
    shared += (shared.empty() ? "" : " ") + normal_spelling(characters, words[size_t(i)], folds);
  return {fmt::format("evaluation item: {}", decontaminator.item_in_words(found->item)),
          fmt::format("shared: {}", shared)};
}

std::string ComparedDocuments::largest_cluster() const {
  if (cluster_groups_.empty()) return "";
  double least = 2;
  std::pair<int64_t, int64_t> pair;
  for (auto a = cluster_groups_.begin(); a != cluster_groups_.end(); ++a)
    for (auto b = std::next(a); b != cluster_groups_.end(); ++b)
      if (const double s = jaccard(a->second, b->second); s < least) least = s, pair = {a->first, b->first};
  const bool all = cluster_size_ <= kMembersCompared;
  return fmt::format("the largest cluster of near duplicates has {} documents; the least similar {}: {} and {}, {:.3f}",
                     format_count(cluster_size_), all ? "two" : fmt::format("two of its first {}", kMembersCompared),
                     corpus_.place_of(pair.first), corpus_.place_of(pair.second), least);
}

}  // namespace hadal::data
