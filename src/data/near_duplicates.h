// Near duplicates of a corpus (§7.2): documents that share a bucket of MinHash are pairs to compare, their true Jaccard
// similarity decides, alike ones are joined into clusters (transitively: a chain may hold documents that are less
// alike), and the first document of a cluster, in corpus order, stays. Which documents share a bucket is found before
// (near_duplicate_search.h); here they are compared.
//   1. give() each document of a list, in any order
//   2. decide()
// Nothing is compared but documents that share a bucket, so documents that no chain of buckets joins may be decided
// elsewhere: the outcome is that of one list of all.
// Memory: 8 bytes per bucket of a document, and about 40 more; groups lie in a file (scratch_numbers.h).
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "config/duplicates_config.h"
#include "data/disjoint_sets.h"
#include "data/scratch_numbers.h"

namespace hadal::data {

struct NearDuplicate {
  uint32_t document = 0, first = 0;  // that goes; the one of its cluster that stays
  bool operator==(const NearDuplicate&) const = default;
};

// A document's key in a bucket. In an array of many, sorted, those of one bucket stand together, in corpus order.
struct Keyed {
  uint64_t key;
  uint32_t entry;
  bool operator<(const Keyed& other) const { return key != other.key ? key < other.key : entry < other.entry; }
};

// Sorts them and calls take(span of those with one key) for every key of at least two.
template <class Take>
void each_key(std::vector<Keyed>& order, Take take) {
  std::sort(order.begin(), order.end());
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && order[end].key == order[begin].key) ++end;
    if (end - begin > 1) take(std::span<const Keyed>(&order[begin], end - begin));
  }
}

class NearDuplicates {
 public:
  // documents: corpus-wide numbers, ascending.
  NearDuplicates(const NearDuplicatesConfig& config, std::vector<uint32_t> documents);

  // One of the documents, once: a key per bucket; its groups of words, ascending and without repetition.
  void give(uint32_t document, std::span<const uint64_t> keys, std::span<const uint64_t> groups);
  // By document, ascending. All documents were given.
  std::vector<NearDuplicate> decide();
  // How often decide() compared a document with the first thousand of a bucket, none of them alike, and with no more.
  int64_t n_broken_off() const { return n_broken_off_; }

 private:
  uint64_t key(uint32_t entry, int64_t bucket) const {
    return keys_[size_t(given_[entry]) * size_t(config_.buckets) + size_t(bucket)];
  }
  bool met_before(uint32_t a, uint32_t b, int64_t bucket) const;
  bool alike(uint32_t a, uint32_t b);
  void compare_all(int64_t bucket, std::span<const Keyed> same);
  int64_t n_groups(uint32_t entry) const { return starts_[given_[entry] + 1u] - starts_[given_[entry]]; }
  const std::vector<uint64_t>& groups_of(uint32_t entry, int side);

  NearDuplicatesConfig config_;
  std::vector<uint32_t> documents_;  // by entry: its place in the list
  std::vector<uint32_t> given_;      // of each entry: as which it was given
  std::deque<uint64_t> keys_;        // [given][bucket]
  std::deque<int64_t> starts_;       // [given]: of its groups, and where the next ones begin
  DisjointSets clusters_;            // of entries
  ScratchNumbers scratch_;
  std::vector<uint64_t> sides_[2];
  int64_t held_[2] = {-1, -1};                         // whose groups these are
  std::set<std::pair<int64_t, uint64_t>> broken_off_;  // buckets and keys of which not all pairs were compared
  int64_t n_broken_off_ = 0;
};

}  // namespace hadal::data
