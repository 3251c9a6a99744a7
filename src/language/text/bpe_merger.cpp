#include "text/bpe_merger.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {
namespace {

constexpr uint32_t kFree = UINT32_MAX;

uint64_t key_of(int32_t left, int32_t right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }

size_t place_of(uint64_t key, size_t table_size) {
  key *= 0x9E3779B97F4A7C15ull;
  return (key ^ key >> 32) & (table_size - 1);
}

}  // namespace

BpeMerger::BpeMerger(std::vector<std::string> tokens, const std::array<int32_t, 256>& byte_ids,
                     std::vector<std::string> forbidden)
    : tokens_(std::move(tokens)), forbidden_(std::move(forbidden)), byte_ids_(byte_ids), table_(1 << 12, kFree) {
  for (int32_t id : byte_ids_) ids_.emplace(tokens_[id], id);
}

void BpeMerger::add_word(std::string_view word, int64_t count) {
  check(words_.size() < UINT32_MAX - 1 && word.size() < INT32_MAX, ErrorKind::unsupported,
        "more distinct words than a tokenizer can be trained on (2^32), or one of {} bytes", word.size());
  words_.push_back({int64_t(symbols_.size()), count, int32_t(word.size())});
  for (char c : word) symbols_.push_back(byte_ids_[uint8_t(c)]);
}

uint32_t BpeMerger::pair_of(int32_t left, int32_t right) {
  const uint64_t key = key_of(left, right);
  size_t at = place_of(key, table_.size());
  for (; table_[at] != kFree; at = (at + 1) & (table_.size() - 1)) {
    if (pairs_[table_[at]].key == key) return table_[at];
  }
  if (pairs_.size() * 2 >= table_.size()) {
    grow_table();
    return pair_of(left, right);
  }
  table_[at] = uint32_t(pairs_.size());
  pairs_.emplace_back();
  pairs_.back().key = key;
  return table_[at];
}

void BpeMerger::grow_table() {
  table_.assign(table_.size() * 2, kFree);
  for (uint32_t pair = 0; pair < pairs_.size(); ++pair) {
    size_t at = place_of(pairs_[pair].key, table_.size());
    while (table_[at] != kFree) at = (at + 1) & (table_.size() - 1);
    table_[at] = pair;
  }
}

void BpeMerger::enqueue(uint32_t pair) {
  queue_.push_back({pairs_[pair].count, pairs_[pair].key, pair});
  std::push_heap(queue_.begin(), queue_.end());
}

void BpeMerger::count_initial_pairs() {
  for (uint32_t word = 0; word < words_.size(); ++word) {
    const int32_t* symbols = symbols_.data() + words_[word].begin;
    for (int32_t i = 0; i + 1 < words_[word].size; ++i) gain(symbols[i], symbols[i + 1], word, words_[word].count);
  }
}

void BpeMerger::lose(int32_t left, int32_t right, int64_t count) { pairs_[pair_of(left, right)].count -= count; }

void BpeMerger::gain(int32_t left, int32_t right, uint32_t word, int64_t count) {
  const uint32_t index = pair_of(left, right);
  Pair& pair = pairs_[index];
  pair.count += count;
  if (pair.words.empty() || pair.words.back() != word) pair.words.push_back(word);
  if (!pair.touched) {
    pair.touched = true;
    touched_.push_back(index);
  }
}

void BpeMerger::merge_in_word(uint32_t word, int32_t left, int32_t right, int32_t result) {
  Word& about = words_[word];
  int32_t* symbols = symbols_.data() + about.begin;
  const int32_t size = about.size;
  int32_t from = 0, to = 0;
  while (from < size) {
    if (from + 1 < size && symbols[from] == left && symbols[from + 1] == right) {
      if (to > 0) {
        lose(symbols[to - 1], left, about.count);
        gain(symbols[to - 1], result, word, about.count);
      }
      if (from + 2 < size) {
        lose(right, symbols[from + 2], about.count);
        gain(result, symbols[from + 2], word, about.count);
      }
      symbols[to++] = result;
      from += 2;
    } else {
      symbols[to++] = symbols[from++];
    }
  }
  about.size = to;
}

// The same bytes can come from different pairs: the token is then the one that exists, and a pair that comes back after
// it was merged (its parts were made in another way) is joined again without a second entry in the list.
bool BpeMerger::merge_pair(uint32_t pair) {
  const auto left = int32_t(pairs_[pair].key >> 32), right = int32_t(pairs_[pair].key & UINT32_MAX);
  std::string bytes = tokens_[left] + tokens_[right];
  if (std::find(forbidden_.begin(), forbidden_.end(), bytes) != forbidden_.end()) return false;
  const auto [place, fresh] = ids_.emplace(bytes, int32_t(tokens_.size()));
  const int32_t result = place->second;
  if (fresh) tokens_.push_back(std::move(bytes));
  if (!pairs_[pair].merged) merges_.push_back({left, right, result});
  pairs_[pair].merged = true;
  const std::vector<uint32_t> words = std::move(pairs_[pair].words);
  pairs_[pair].words = {};
  for (uint32_t word : words) merge_in_word(word, left, right, result);
  pairs_[pair].count = 0;
  return true;
}

void BpeMerger::run(int64_t n_tokens, int64_t min_count, const std::function<void(int64_t)>& progress) {
  count_initial_pairs();
  while (true) {
    for (uint32_t pair : touched_) {
      pairs_[pair].touched = false;
      if (pairs_[pair].count >= min_count) enqueue(pair);
    }
    touched_.clear();
    if (int64_t(tokens_.size()) >= n_tokens) return;
    while (true) {
      if (queue_.empty()) return;
      std::pop_heap(queue_.begin(), queue_.end());
      const Waiting top = queue_.back();
      queue_.pop_back();
      const int64_t now = pairs_[top.pair].count;
      if (now == top.count) {
        if (merge_pair(top.pair)) break;
      } else if (now < top.count && now >= min_count) {
        enqueue(top.pair);
      }
    }
    progress(int64_t(tokens_.size()));
  }
}

}  // namespace hadal
