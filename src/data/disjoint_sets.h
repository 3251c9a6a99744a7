// Numbers in sets that grow together; a set is known by its least number. 4 bytes a number.
#pragma once
#include <cstdint>
#include <numeric>
#include <vector>

namespace hadal::data {

class DisjointSets {
 public:
  explicit DisjointSets(size_t n = 0) : parents_(n) { std::iota(parents_.begin(), parents_.end(), 0u); }

  size_t size() const { return parents_.size(); }
  uint32_t first(uint32_t number) {  // of its set
    while (parents_[number] != number) number = parents_[number] = parents_[parents_[number]];
    return number;
  }
  void join(uint32_t a, uint32_t b);

 private:
  std::vector<uint32_t> parents_;  // of each number one of its set that is not greater, itself at its first
};

}  // namespace hadal::data
