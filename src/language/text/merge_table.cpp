#include "text/merge_table.h"

#include <bit>

#include "base/error.h"

namespace hadal {

MergeTable::MergeTable(std::vector<Merge> merges, bool equal_ranks) : merges_(std::move(merges)) {
  check(int64_t(merges_.size()) <= kMostMerges, ErrorKind::unsupported,
        "the tokenizer has {} merges; at most {} are supported", merges_.size(), kMostMerges);
  const size_t size = std::bit_ceil(merges_.size() * 2 + 16);
  table_.assign(size, kEmpty);
  shift_ = 64 - std::countr_zero(size);
  filter_.assign((size_t(1) << kFilterLog) / 64, 0);
  for (size_t i = 0, rank = 0; i < merges_.size(); ++i) {
    if (!equal_ranks || merges_[i].result != merges_[rank].result) rank = i;
    insert(uint64_t(merges_[i].left) << 20 | uint64_t(merges_[i].right), uint32_t(rank));
  }
}

void MergeTable::insert(uint64_t key, uint32_t rank) {
  const uint64_t hash = key * kFactor;
  filter_[hash >> (64 - kFilterLog + 6)] |= uint64_t(1) << (hash >> (64 - kFilterLog) & 63);
  size_t at = hash >> shift_;
  for (; table_[at] != kEmpty; at = (at + 1) & (table_.size() - 1)) {
    check(table_[at] >> 24 != key, ErrorKind::corrupt, "merges {} and {} of the tokenizer join the same two tokens",
          table_[at] & 0xFFFFFF, rank);
  }
  table_[at] = key << 24 | rank;
}

}  // namespace hadal
