// Groups of words are known by hashes of 64 bits.
#include "data/repeated_words.h"

#include <unordered_map>
#include <unordered_set>

namespace hadal::data {

uint64_t RepeatedWords::group(int64_t first, int64_t n, bool with_spaces) const {
  uint64_t hash = 0;
  for (int64_t i = first; i < first + n; ++i) {
    const WordSpan& word = words_[size_t(i)];
    if (with_spaces) hash = hash * kHashBase + ' ' + 1;
    hash = hash * word.power + word.hash;
  }
  return hash;
}

int64_t RepeatedWords::top(int64_t n) {
  struct Met {
    int64_t first, times;
  };
  std::unordered_map<uint64_t, Met> met;
  const int64_t last = int64_t(words_.size()) - n;
  met.reserve(size_t(std::max<int64_t>(0, last + 1)));
  for (int64_t i = 0; i <= last; ++i) ++met.try_emplace(group(i, n, true), Met{i, 0}).first->second.times;
  Met most{0, 0};
  for (const auto& [hash, one] : met)
    if (one.times > most.times || (one.times == most.times && one.first < most.first)) most = one;
  if (most.times == 0) return 0;
  int64_t characters = n - 1;
  for (int64_t i = most.first; i < most.first + n; ++i) characters += words_[size_t(i)].size();
  return characters * most.times;
}

int64_t RepeatedWords::repeated(int64_t n) {
  std::unordered_set<uint64_t> seen;
  int64_t characters = 0;
  const int64_t last = int64_t(words_.size()) - n;
  seen.reserve(size_t(std::max<int64_t>(0, last + 1)));
  for (int64_t i = 0; i <= last;) {
    if (seen.insert(group(i, n, false)).second) {
      ++i;
      continue;
    }
    for (int64_t k = i; k < i + n; ++k) characters += words_[size_t(k)].size();
    i += n;
  }
  return characters;
}

}  // namespace hadal::data
