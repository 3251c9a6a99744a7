// See common_groups.h.
#include "data/common_groups.h"

#include <algorithm>
#include <map>

#include "base/text_format.h"

namespace hadal::data {

void CommonGroups::add(Suspect suspect, const std::vector<MetGroup>& met) {
  const size_t begin = held_.size();
  for (const MetGroup& one : met) {
    const auto [at, is_new] = numbers_.try_emplace(one.hash, uint32_t(groups_.size()));
    if (is_new) groups_.push_back({0, one.words, one.hash});
    Group& group = groups_[at->second];
    const bool counts = suspect.rule.empty() && one.words >= config_.min_words;
    if (counts && !is_common(group)) ++group.documents;
    if (!is_common(group)) held_.push_back(at->second);
  }
  if (held_.size() == begin) return;
  begins_.push_back(begin);
  suspects_.push_back(std::move(suspect));
}

std::vector<Suspect> CommonGroups::contaminated() const {
  std::vector<Suspect> found;
  for (size_t s = 0; s < suspects_.size(); ++s) {
    const size_t end = s + 1 < begins_.size() ? begins_[s + 1] : held_.size();
    bool any = false, by_ngram = false;
    for (size_t i = begins_[s]; i < end; ++i) {
      const Group& group = groups_[held_[i]];
      any |= !is_common(group);
      by_ngram |= !is_common(group) && group.words == config_.ngram;
    }
    if (!any) continue;
    found.push_back(suspects_[s]);
    found.back().by_ngram = by_ngram;
  }
  return found;
}

std::vector<uint64_t> CommonGroups::hashes() const {
  std::vector<uint64_t> common;
  for (const Group& group : groups_)
    if (is_common(group)) common.push_back(group.hash);
  std::sort(common.begin(), common.end());
  return common;
}

std::string CommonGroups::summary(const Decontaminator& decontaminator) const {
  std::map<int64_t, int64_t> by_item;
  for (const uint64_t hash : hashes()) ++by_item[decontaminator.item_of(hash)];
  if (by_item.empty()) return "";
  const auto most = std::max_element(by_item.begin(), by_item.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  int64_t n = 0;
  for (const auto& [item, groups] : by_item) n += groups;
  return fmt::format(
      "{} group{} of words of {} evaluation item{} stand{} in more than {} documents (data.decontaminate.common_above) "
      "and remove{} none; {} of them of {}",
      format_count(n), n == 1 ? "" : "s", format_count(int64_t(by_item.size())), by_item.size() == 1 ? "" : "s",
      n == 1 ? "s" : "", format_count(config_.common_above), n == 1 ? "s" : "", format_count(most->second),
      decontaminator.item_in_words(most->first));
}

}  // namespace hadal::data
