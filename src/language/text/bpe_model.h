// Byte-level BPE of one word of text: starts from the bytes' tokens and joins, again and again, the neighbouring pair
// whose merge has the lowest rank (the leftmost of equals). That is the meaning, and for odd lists of merges the method
// (short words are scanned, long ones go through a heap). Most lists can be walked left to right instead, with the same
// outcome (bpe_walk.h). The walk's tables take longer to make than some pages of text to merge, so they are made when a
// thread has merged that much. Thread-safe; a thread's working memory and its cache of words are a BpeScratch.
#pragma once
#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "text/bpe_walk.h"
#include "text/merge_table.h"
#include "text/token_index.h"

namespace hadal {

// Words met before, with their ids: direct-mapped, one cache line an entry.
class WordCache {
 public:
  static constexpr size_t kMostBytes = 30, kMostIds = 8;
  WordCache() : entries_(kEntries) {}
  // Appends the ids if the word (1..kMostBytes bytes) is known.
  bool find(std::string_view word, uint64_t hash, std::vector<int32_t>& ids) const;
  void keep(std::string_view word, uint64_t hash, const int32_t* ids, size_t n_ids);

 private:
  static constexpr size_t kEntries = 1 << 15;
  struct alignas(64) Entry {
    uint8_t n_bytes = 0, n_ids = 0;
    char bytes[kMostBytes];
    int32_t ids[kMostIds];
  };
  static_assert(sizeof(Entry) == 64);
  std::vector<Entry> entries_;
};

struct BpeScratch {
  WordCache cache;
  std::vector<int32_t> ids, next, previous;
  std::vector<uint32_t> ranks;
  std::vector<uint64_t> heap;
  std::vector<uint8_t> dead;  // borders that no outcome has
  size_t merged_bytes = 0;    // of words, before the walk's tables are asked for
};

class BpeModel {
 public:
  static constexpr int64_t kMostTokens = 1 << 20;

  // merges, equal_ranks: as in MergeTable; byte_ids[b] is the token of byte b.
  BpeModel(std::vector<Merge> merges, const std::array<int32_t, 256>& byte_ids, bool equal_ranks = false);

  // Append the ids of a word. encode() uses the cache; encode_by_merging() is the meaning.
  void encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  void encode_afresh(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  void encode_by_merging(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  const BpeWalk* walk() const;  // made by the first call; none where the merges do not allow it
  const std::vector<Merge>& merges() const { return table_.merges(); }
  // Words that are a token as they stand ("ignore_merges" of tokenizer.json); the map outlives the model.
  void set_whole_words(const TokenIndex* words) { whole_words_ = words; }

 private:
  static constexpr size_t kFewBytes = 1 << 16;
  void scan(BpeScratch& scratch, std::vector<int32_t>& ids) const;
  void heap(BpeScratch& scratch, std::vector<int32_t>& ids) const;

  MergeTable table_;
  std::array<int32_t, 256> byte_ids_{};
  std::vector<uint32_t> byte_pair_ranks_;  // [256 * 256]: the first look-ups of every word
  mutable std::once_flag walk_made_;
  mutable std::optional<BpeWalk> walk_;
  const TokenIndex* whole_words_ = nullptr;
};

}  // namespace hadal
