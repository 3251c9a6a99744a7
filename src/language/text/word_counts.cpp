#include "text/word_counts.h"

#include <algorithm>
#include <cstring>

#include "text/bpe_model.h"

namespace hadal {
namespace {
constexpr size_t kBlockBytes = 1 << 18;
}

void WordCounts::add(std::string_view word, int64_t count) { add_hashed(word, word_hash(word), count); }

void WordCounts::add_hashed(std::string_view word, uint64_t hash, int64_t count) {
  if (uint64_t(n_words_) * 8 >= table_.size() * 5) grow();
  size_t at = hash & (table_.size() - 1);
  while (table_[at].bytes != nullptr) {
    if (table_[at].hash == hash && table_[at].text() == word) {
      table_[at].count += count;
      return;
    }
    at = (at + 1) & (table_.size() - 1);
  }
  table_[at] = {hash, keep(word), int64_t(word.size()), count};
  ++n_words_;
}

void WordCounts::add_all(const WordCounts& other) {
  other.for_each([&](const Word& word) { add_hashed(word.text(), word.hash, word.count); });
}

const char* WordCounts::keep(std::string_view word) {
  if (word.size() > block_left_) {
    block_left_ = std::max(kBlockBytes, word.size());
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(block_left_));
    block_at_ = blocks_.back().get();
  }
  char* kept = block_at_;
  std::memcpy(kept, word.data(), word.size());
  block_at_ += word.size();
  block_left_ -= word.size();
  return kept;
}

void WordCounts::grow() {
  std::vector<Word> old(std::max<size_t>(1024, table_.size() * 2));
  old.swap(table_);
  for (const Word& word : old) {
    if (word.bytes == nullptr) continue;
    size_t at = word.hash & (table_.size() - 1);
    while (table_[at].bytes != nullptr) at = (at + 1) & (table_.size() - 1);
    table_[at] = word;
  }
}

void WordCounts::clear() { *this = WordCounts(); }

}  // namespace hadal
