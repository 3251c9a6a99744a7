// How much of a text is in groups of words that stand in it again and again.
#pragma once
#include <cstdint>
#include <vector>

#include "data/words.h"

namespace hadal::data {

class RepeatedWords {
 public:
  explicit RepeatedWords(const std::vector<WordSpan>& words);

  // Characters of all occurrences of the most frequent n words in a row (of equally many the one that came first),
  // with a space between two of them; 0 for a text of fewer words.
  int64_t top(int64_t n);
  // Characters of n words in a row that stood before, whatever their borders; behind such ones the next begins.
  int64_t repeated(int64_t n);

 private:
  // Hashes of any run of words in three products: with H the hash of all words up to one and P the power of all their
  // characters, that of words [i, k) is H[k] - H[i] P[k] / P[i], modulo 2^64, where odd numbers have inverses.
  struct Runs {
    std::vector<uint64_t> hash, power, inverse;
    void begin(size_t words);
    void add(uint64_t word_hash, uint64_t word_power, uint64_t inverse_power);
    uint64_t of(int64_t i, int64_t k) const {
      return hash[size_t(k)] - hash[size_t(i)] * power[size_t(k)] * inverse[size_t(i)];
    }
  };
  struct Met {
    uint64_t hash = 0;
    uint32_t first = 0, times = 0;  // times 0: nobody
  };
  template <class Slot>
  void clear(std::vector<Slot>& table, int64_t n_groups);

  const std::vector<WordSpan>& words_;
  Runs with_spaces_, joined_;
  std::vector<Met> table_;      // open addresses, at most half full
  std::vector<uint64_t> seen_;  // likewise, hashes; 0: nobody
  uint64_t mask_ = 0;
};

}  // namespace hadal::data
