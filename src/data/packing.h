// Best-fit-decreasing packing (§2.2; Ding et al. 2024, "Fewer truncations improve language modeling"): longest first,
// each into the fullest bin that still has room. Counting sort by length and a segment tree over remaining room: O(N
// log L).
#pragma once
#include <cstdint>
#include <vector>

namespace hadal::data {

struct PackItem {
  int64_t length = 0;  // 1..capacity
  bool alone = false;  // no two such items share a bin (parts that do not end with their document)
};

// Items of each bin in the order in which they were put there; bins in the order in which they were opened.
// Equal lengths go in order of index; among equally full bins the one that became so first is taken.
std::vector<std::vector<int64_t>> pack_best_fit(const std::vector<PackItem>& items, int64_t capacity);

}  // namespace hadal::data
