// How much of a text is in groups of words that stand in it again and again.
#pragma once
#include <vector>

#include "data/words.h"

namespace hadal::data {

class RepeatedWords {
 public:
  explicit RepeatedWords(const std::vector<WordSpan>& words) : words_(words) {}

  // Characters of all occurrences of the most frequent n words in a row (of equally many the one that came first),
  // with a space between two of them; 0 for a text of fewer words.
  int64_t top(int64_t n);
  // Characters of n words in a row that stood before, whatever their borders; behind such ones the next begins.
  int64_t repeated(int64_t n);

 private:
  uint64_t group(int64_t first, int64_t n, bool with_spaces) const;
  const std::vector<WordSpan>& words_;
};

}  // namespace hadal::data
