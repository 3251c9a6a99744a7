// A text as near duplicates and items of evaluations are compared: as words in lower case, without diacritics.
// Punctuation and white space are borders, of any kind and number; an ideograph or kana is a word of its own. With
// numbers folded every number ("7", "1,250", "3.5") is the same; otherwise punctuation inside of one is a border too.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace hadal::data {

struct NormalWord {
  uint64_t hash = 0;           // equal for equal words
  int64_t begin = 0, end = 0;  // characters of the text (words.h)
};

// Of characters_of(text).
std::vector<NormalWord> normal_words(const std::vector<uint32_t>& characters, bool fold_numbers);

// The characters of a word as they are compared, for people.
std::string normal_spelling(const std::vector<uint32_t>& characters, const NormalWord& word, bool fold_numbers);

// Hashes of all groups of n words in a row, as they come; of a text of fewer words (but some) one, of all of them.
std::vector<uint64_t> word_groups(const std::vector<NormalWord>& words, int64_t n);

// The same groups one behind the other: hash() is that of words [at, at + n) after each next().
class RollingGroup {
 public:
  RollingGroup(const std::vector<NormalWord>& words, int64_t n);
  bool next();  // false: there is no further one
  int64_t at() const { return at_; }
  uint64_t hash() const;

 private:
  const std::vector<NormalWord>& words_;
  int64_t n_, at_ = -1;
  uint64_t sum_ = 0, power_ = 1;  // sum of the words' hashes times powers of kHashBase; that of the first word
};

}  // namespace hadal::data
