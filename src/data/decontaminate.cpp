// See decontaminate.h.
#include "data/decontaminate.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/text_format.h"
#include "data/evaluation_items.h"
#include "data/one_line.h"
#include "data/words.h"

namespace hadal::data {

Decontaminator::Decontaminator(const DecontaminateConfig& config)
    : config_(config), by_length_(size_t(config.ngram) + 1) {
  if (config.files.empty()) return;
  n_files_ = int64_t(evaluation_files(config).size());
  read_evaluation_items(config, [&](EvaluationItem&& item) {
    const uint32_t number = uint32_t(items_.size());
    items_.push_back({item.place(), one_line(item.parts.back())});
    int64_t longest = 0;
    for (const std::string& part : item.parts) longest = std::max(longest, add(part, number));
    n_short_ += longest < config_.min_words;
  });
  for (Groups& groups : by_length_) groups.make_filter();
}

int64_t Decontaminator::add(const std::string& text, uint32_t item) {
  const std::vector<NormalWord> words = normal_words(characters_of(text), config_.fold_numbers);
  Groups& groups = by_length_[std::min(words.size(), size_t(config_.ngram))];
  for (const uint64_t hash : word_groups(words, config_.ngram)) groups.items.try_emplace(hash, item);
  return int64_t(words.size());
}

void Decontaminator::Groups::make_filter() {
  if (items.empty()) return;
  const uint64_t bits = std::bit_ceil(std::max<uint64_t>(64, items.size() * 16));
  mask = bits - 1;
  filter.assign(bits / 64, 0);
  for (const auto& [hash, item] : items)
    for (const uint64_t bit : {hash & mask, (hash >> 32) & mask}) filter[bit >> 6] |= uint64_t(1) << (bit & 63);
}

bool Decontaminator::looks_for(int64_t n, int64_t n_words) const {
  return !by_length_[size_t(n)].items.empty() && (n >= config_.min_words || n == n_words);
}

std::optional<Contamination> Decontaminator::find(const std::vector<NormalWord>& words) const {
  const int64_t n_words = int64_t(words.size());
  for (int64_t n = std::min(config_.ngram, n_words); n > 0; --n) {
    const Groups& groups = by_length_[size_t(n)];
    if (!looks_for(n, n_words)) continue;
    for (RollingGroup group(words, n); group.next();) {
      if (!groups.holds(group.hash())) continue;
      Contamination found{int64_t(groups.items.at(group.hash())), group.at(), n, n < config_.ngram};
      while (!found.whole_item && group.next() && groups.holds(group.hash())) ++found.words;
      return found;
    }
  }
  return std::nullopt;
}

std::vector<MetGroup> Decontaminator::all_in(const std::vector<NormalWord>& words) const {
  std::vector<MetGroup> met;
  const int64_t n_words = int64_t(words.size());
  for (int64_t n = std::min(config_.ngram, n_words); n > 0; --n) {
    if (!looks_for(n, n_words)) continue;
    for (RollingGroup group(words, n); group.next();)
      if (by_length_[size_t(n)].holds(group.hash())) met.push_back({group.hash(), n});
  }
  std::sort(met.begin(), met.end(), [](const MetGroup& a, const MetGroup& b) { return a.hash < b.hash; });
  met.erase(std::unique(met.begin(), met.end(), [](const MetGroup& a, const MetGroup& b) { return a.hash == b.hash; }),
            met.end());
  return met;
}

void Decontaminator::leave_out(const std::vector<uint64_t>& hashes) {
  for (Groups& groups : by_length_) {
    for (const uint64_t hash : hashes) groups.items.erase(hash);
    groups.make_filter();
  }
}

int64_t Decontaminator::item_of(uint64_t hash) const {
  for (const Groups& groups : by_length_)
    if (const auto found = groups.items.find(hash); found != groups.items.end()) return int64_t(found->second);
  fail(ErrorKind::internal, "a group of words of no evaluation item");
}

std::string Decontaminator::item_in_words(int64_t item) const {
  const Item& one = items_[size_t(item)];
  return fmt::format("{}: {}", one.place, one.begin);
}

std::string Decontaminator::summary() const {
  const auto counted = [](int64_t n, const char* what) {
    return fmt::format("{} {}{}", format_count(n), what, n == 1 ? "" : "s");
  };
  std::string text = counted(int64_t(items_.size()), "evaluation item") + " of " + counted(n_files_, "file");
  if (n_short_ > 0)
    text += fmt::format("; {} of fewer than {} words are found only where they are all of a document",
                        format_count(n_short_), config_.min_words);
  return text;
}

}  // namespace hadal::data
