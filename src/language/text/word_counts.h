// A table of distinct words with 64-bit counts. Words are kept in large blocks of memory; a word costs its bytes and
// about 50 more.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace hadal {

class WordCounts {
 public:
  struct Word {
    uint64_t hash = 0;
    const char* bytes = nullptr;  // nullptr: a free place
    int64_t size = 0, count = 0;
    std::string_view text() const { return {bytes, size_t(size)}; }
  };

  void add(std::string_view word, int64_t count = 1);
  void add_all(const WordCounts& other);
  int64_t n_words() const { return n_words_; }
  void clear();  // gives the memory back

  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const Word& word : table_) {
      if (word.bytes != nullptr) visit(word);
    }
  }

 private:
  void add_hashed(std::string_view word, uint64_t hash, int64_t count);
  const char* keep(std::string_view word);
  void grow();
  std::vector<Word> table_;  // a power of two, at most 5/8 full, linear probing
  int64_t n_words_ = 0;
  std::vector<std::unique_ptr<char[]>> blocks_;
  size_t block_left_ = 0;
  char* block_at_ = nullptr;
};

}  // namespace hadal
