// Near duplicates of a corpus (§7.2): documents that share a bucket of MinHash are pairs to compare, their true Jaccard
// similarity decides, alike ones are joined into clusters (transitively: a chain may hold documents that are less
// alike), and the first document of a cluster, in corpus order, stays.
//   1. add() every document in corpus order, with the keys of its buckets
//   2. candidates(): documents that share one with another; no other has to be read again
//   3. decide(): given the groups of words of those
// Memory: 8 bytes per bucket of a document, and about 30 more; groups lie in a file (scratch_numbers.h).
#pragma once
#include <cstdint>
#include <deque>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "config/duplicates_config.h"
#include "data/scratch_numbers.h"

namespace hadal::data {

struct NearDuplicate {
  uint32_t document = 0, first = 0;  // that goes; the one of its cluster that stays
  bool operator==(const NearDuplicate&) const = default;
};

class NearDuplicates {
 public:
  explicit NearDuplicates(const NearDuplicatesConfig& config);

  // `document` rises from call to call. Documents with different `domain` are not compared.
  void add(int64_t document, std::span<const uint64_t> keys, uint64_t domain);
  // Before candidates(): as if it had not been added.
  void forget(int64_t document);
  // Ascending; empty: nothing more is to be done.
  std::vector<uint32_t> candidates();
  // Ascending and without repetition; of the candidates, in their order, each once.
  void add_groups(std::span<const uint64_t> groups);
  // By document, ascending.
  std::vector<NearDuplicate> decide();
  // How often decide() compared a document with the first thousand of a bucket, none of them alike, and with no more.
  int64_t n_broken_off() const { return n_broken_off_; }

 private:
  struct Keyed {
    uint64_t key;
    uint32_t entry;
    bool operator<(const Keyed& other) const { return key != other.key ? key < other.key : entry < other.entry; }
  };
  template <class Take>
  void each_bucket(Take take);  // take(bucket, span of entries with one key), of at least two
  uint64_t key(uint32_t entry, int64_t bucket) const {
    return keys_[size_t(entry) * size_t(config_.buckets) + size_t(bucket)];
  }
  bool met_before(uint32_t a, uint32_t b, int64_t bucket) const;
  bool alike(uint32_t a, uint32_t b);
  uint32_t root(uint32_t entry);
  void join(uint32_t a, uint32_t b);
  void compare_all(int64_t bucket, std::span<const Keyed> same);
  size_t candidate(uint32_t entry) const;
  int64_t n_groups(uint32_t entry) const;
  const std::vector<uint64_t>& groups_of(uint32_t entry, int side);

  NearDuplicatesConfig config_;
  std::deque<uint32_t> documents_;              // by entry
  std::set<uint32_t> forgotten_;                // entries
  std::deque<uint64_t> keys_;                   // [entry][bucket]
  std::vector<uint32_t> candidates_, parents_;  // entries; of each entry one of its cluster, itself at its first
  ScratchNumbers scratch_;
  std::vector<int64_t> starts_;  // of the candidates' groups
  std::vector<uint64_t> sides_[2];
  int64_t held_[2] = {-1, -1};                         // whose groups these are
  std::set<std::pair<int64_t, uint64_t>> broken_off_;  // buckets and keys of which not all pairs were compared
  int64_t n_broken_off_ = 0;
};

}  // namespace hadal::data
