// The merging half of BPE training: words as sequences of tokens with counts, the pairs in them with counts and the
// words they stand in, and a queue of pairs by count. A queue entry may be older than the pair's count; it is corrected
// when it comes up. One merge costs in proportion to the words that hold the pair.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/bpe_model.h"
#include "text/word_counts.h"

namespace hadal {

class BpeMerger {
 public:
  // tokens: the bytes of ids 0 .. n-1 so far; byte_ids[b] the token of byte b; forbidden: bytes that no merge may make.
  BpeMerger(std::vector<std::string> tokens, const std::array<int32_t, 256>& byte_ids,
            std::vector<std::string> forbidden);

  void add_word(std::string_view word, int64_t count);
  // Merges until there are n_tokens tokens, or no pair is left that occurs min_count times. progress(tokens now).
  void run(int64_t n_tokens, int64_t min_count, const std::function<void(int64_t)>& progress);

  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::vector<Merge>& merges() const { return merges_; }

 private:
  struct Word {
    int64_t begin = 0, count = 0;
    int32_t size = 0;
  };
  struct Pair {
    uint64_t key = 0;  // left << 32 | right
    int64_t count = 0;
    std::vector<uint32_t> words;
    bool touched = false, merged = false;
  };
  struct Waiting {
    int64_t count;
    uint64_t key;
    uint32_t pair;
    bool operator<(const Waiting& other) const { return count != other.count ? count < other.count : key > other.key; }
  };

  uint32_t pair_of(int32_t left, int32_t right);
  void grow_table();
  void enqueue(uint32_t pair);
  void count_initial_pairs();
  void lose(int32_t left, int32_t right, int64_t count);
  void gain(int32_t left, int32_t right, uint32_t word, int64_t count);
  void merge_in_word(uint32_t word, int32_t left, int32_t right, int32_t result);
  bool merge_pair(uint32_t pair);  // false: the merge is not allowed

  std::vector<std::string> tokens_, forbidden_;
  std::unordered_map<std::string, int32_t> ids_;
  std::array<int32_t, 256> byte_ids_;
  std::vector<Merge> merges_;
  std::vector<int32_t> symbols_;  // of all words, one after the other
  std::vector<Word> words_;
  std::vector<Pair> pairs_;
  std::vector<uint32_t> table_;  // indexes into pairs_ by key, kFree where none; at most half full
  std::vector<Waiting> queue_;   // a heap
  std::vector<uint32_t> touched_;
};

}  // namespace hadal
