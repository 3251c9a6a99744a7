// Ids by bytes: a flat hash table of texts that lie elsewhere and outlive it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal {

uint64_t word_hash(std::string_view word);

class TokenIndex {
 public:
  explicit TokenIndex(size_t expected = 0);
  bool add(std::string_view text, int32_t id);  // false where it is known: the earlier id stays
  int32_t find(std::string_view text) const;    // -1: unknown
  size_t size() const { return entries_.size(); }

 private:
  struct Slot {
    uint32_t tag = 0;
    uint32_t entry = 0;  // its number + 1; 0: free
  };
  void spread(size_t n_slots);

  std::vector<Slot> slots_;  // linear probing
  std::vector<std::pair<std::string_view, int32_t>> entries_;
};

}  // namespace hadal
