// Byte-level BPE of one word of text: starts from the bytes' tokens and joins, again and again, the neighbouring pair
// whose merge has the lowest rank (the leftmost of equals). That is the meaning, and for odd lists of merges the method
// (short words are scanned, long ones go through a heap). Where each token has one merge, which comes after those of
// its parts, merges happen in the order of their ranks. Then a sequence of tokens is the outcome if and only if each
// two neighbours alone would come out as they are: no merge across their border, at the time at which both its sides
// exist. So the outcome is found left to right, the longest token first, stepping back where nothing fits. Immutable
// and thread-safe; a thread's working memory and its cache of words are a BpeScratch.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/token_index.h"
#include "text/token_trie.h"

namespace hadal {

struct Merge {
  int32_t left = 0, right = 0, result = 0;
};

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
};

class BpeModel {
 public:
  static constexpr int64_t kMostTokens = 1 << 20, kMostMerges = (1 << 24) - 2;

  BpeModel() = default;
  // merges in order of rank; byte_ids[b] is the token of byte b. With equal_ranks those of one result, which stand
  // together, have the rank of the first.
  BpeModel(std::vector<Merge> merges, const std::array<int32_t, 256>& byte_ids, bool equal_ranks = false);

  void encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;  // appends; uses the cache
  void encode_afresh(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  void encode_by_merging(std::string_view word, BpeScratch& scratch,
                         std::vector<int32_t>& ids) const;  // by the meaning
  bool walks() const { return !trie_.empty(); }
  const std::vector<Merge>& merges() const { return merges_; }
  // Words that are a token as they stand ("ignore_merges" of tokenizer.json); the map outlives the model.
  void set_whole_words(const TokenIndex* words) { whole_words_ = words; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t rank(int32_t left, int32_t right) const;
  void insert(uint64_t key, uint32_t rank);
  bool in_order(size_t n_ids, std::vector<uint32_t>& made) const;
  void prepare_walk();
  bool compatible(int32_t left, int32_t right, uint32_t before) const;
  void walk(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  void scan(BpeScratch& scratch, std::vector<int32_t>& ids) const;
  void heap(BpeScratch& scratch, std::vector<int32_t>& ids) const;

  std::vector<Merge> merges_;
  std::array<int32_t, 256> byte_ids_{};
  std::vector<uint32_t> byte_pair_ranks_;  // [256 * 256]: the first look-ups of every word
  std::vector<uint64_t> table_;            // left 20 bits, right 20, rank 24; linear probing
  std::vector<uint64_t> filter_;           // a bit set for the hash of every pair that has a merge: most have none
  int shift_ = 0;
  struct Token {
    uint32_t made = 0;  // rank of its merge + 1; 0: a byte
    int32_t left = -1, right = -1;
    int32_t size = 0;
  };
  std::vector<Token> parts_;       // by id
  std::vector<int32_t> prefixes_;  // by id: the longest token that it begins with
  TokenTrie trie_;
  const TokenIndex* whole_words_ = nullptr;
};

}  // namespace hadal
