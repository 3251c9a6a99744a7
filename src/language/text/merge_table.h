// The merges of byte-level BPE, and the rank of a pair of tokens: a flat hash table behind a bit for each pair that has
// a merge (most pairs have none). Immutable and thread-safe.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace hadal {

struct Merge {
  int32_t left = 0, right = 0, result = 0;
};

class MergeTable {
 public:
  static constexpr int64_t kMostMerges = (1 << 24) - 2;
  static constexpr uint32_t kNone = UINT32_MAX;

  // merges in order of rank. With equal_ranks those of one result, which stand together, have the rank of the first.
  // Two merges of one pair are an Error.
  explicit MergeTable(std::vector<Merge> merges, bool equal_ranks = false);

  const std::vector<Merge>& merges() const { return merges_; }

  // kNone: the two are not merged.
  uint32_t rank(int32_t left, int32_t right) const {
    const uint64_t key = uint64_t(left) << 20 | uint64_t(right);
    const uint64_t hash = key * kFactor;
    if ((filter_[hash >> (64 - kFilterLog + 6)] >> (hash >> (64 - kFilterLog) & 63) & 1) == 0) return kNone;
    size_t at = hash >> shift_;
    while (true) {
      const uint64_t entry = table_[at];
      if (entry >> 24 == key) return uint32_t(entry & 0xFFFFFF);
      if (entry == kEmpty) return kNone;
      at = (at + 1) & (table_.size() - 1);
    }
  }

 private:
  static constexpr uint64_t kFactor = 0x9E3779B97F4A7C15ull, kEmpty = UINT64_MAX;
  static constexpr int kFilterLog = 21;
  void insert(uint64_t key, uint32_t rank);

  std::vector<Merge> merges_;
  std::vector<uint64_t> table_;  // left 20 bits, right 20, rank 24; linear probing
  std::vector<uint64_t> filter_;
  int shift_ = 0;
};

}  // namespace hadal
