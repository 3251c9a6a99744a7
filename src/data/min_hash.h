// MinHash with buckets (LSH; Broder 1997, §7.2 of the post-training literature). Of a document's set of groups of words
// each of buckets x hashes functions h(x) = a x + b mod 2^64 keeps the smallest value. Two documents agree in one
// minimum with the probability s of their Jaccard similarity, in all of a bucket with s^hashes, and in some bucket with
//   P = 1 - (1 - s^hashes)^buckets.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "base/isa.h"

namespace hadal::data {

class MinHash {
 public:
  MinHash(int64_t buckets, int64_t hashes);
  int64_t buckets() const { return buckets_; }

  // A key per bucket, a hash of its minima: `keys` is that of buckets() numbers. At least one group.
  void keys(std::span<const uint64_t> groups, uint64_t* keys) const;

 private:
  int64_t buckets_, hashes_;
  Isa isa_ = best_isa();
  std::vector<uint64_t> factors_, offsets_;  // of bucket 0, then of 1 ...
};

// Intersection over union of two sets, each ascending and without repetition.
double jaccard(std::span<const uint64_t> a, std::span<const uint64_t> b);

}  // namespace hadal::data
