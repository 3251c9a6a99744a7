// Decontamination (§7.3): documents that hold an evaluation item, or part of one. Both are compared as normalised words
// (normal_words.h): a document goes if it shares `ngram` words in a row with an item's text (question, answer, or both
// joined); items of fewer words are looked for whole, if they have min_words; even shorter ones are found where they
// are all of a document. A paraphrase is not found.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/duplicates_config.h"
#include "data/normal_words.h"

namespace hadal::data {

struct Contamination {
  int64_t item = 0;
  int64_t at = 0, words = 0;  // of the document's: where shared ones begin, and how many follow one another
  bool whole_item = false;    // of fewer words than ngram
};

// A group of words that a document has in common with an item.
struct MetGroup {
  uint64_t hash = 0;
  int64_t words = 0;  // ngram, or fewer: all of an item
};

class Decontaminator {
 public:
  // Reads the evaluation files (evaluation_items.h); memory: about 20 bytes per group of words in them.
  explicit Decontaminator(const DecontaminateConfig& config);
  bool empty() const { return items_.empty(); }

  // Of words as normal_words(characters, config.fold_numbers) makes them. May be asked by several threads at once.
  std::optional<Contamination> find(const std::vector<NormalWord>& words) const;
  // All of them, each once, by their hashes.
  std::vector<MetGroup> all_in(const std::vector<NormalWord>& words) const;
  // Groups of these hashes are found no more (common_groups.h).
  void leave_out(const std::vector<uint64_t>& hashes);

  const DecontaminateConfig& config() const { return config_; }
  int64_t item_of(uint64_t hash) const;           // the first that has a group
  std::string item_in_words(int64_t item) const;  // its place and beginning
  std::string summary() const;                    // "1,319 evaluation items of 1 file; 12 of fewer than ..."

 private:
  struct Groups {  // of one length
    std::unordered_map<uint64_t, uint32_t> items;
    std::vector<uint64_t> filter;  // bits: most hashes are told to be none of these without a look into the map
    uint64_t mask = 0;
    void make_filter();
    bool holds(uint64_t hash) const {
      const uint64_t bit = hash & mask, other = (hash >> 32) & mask;
      return (filter[bit >> 6] >> (bit & 63) & filter[other >> 6] >> (other & 63) & 1) && items.contains(hash);
    }
  };
  struct Item {
    std::string place, begin;
  };
  int64_t add(const std::string& text, uint32_t item);  // its words
  bool looks_for(int64_t n, int64_t n_words) const;     // groups of n words, in a document of so many

  DecontaminateConfig config_;
  std::vector<Item> items_;
  std::vector<Groups> by_length_;  // [n], up to ngram
  int64_t n_files_ = 0, n_short_ = 0;
};

}  // namespace hadal::data
