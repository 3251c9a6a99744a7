// See min_hash.h.
#include "data/min_hash.h"

#include <string_view>

#include "base/hash.h"
#include "base/random.h"
#include "kernels/least_values.h"

namespace hadal::data {

MinHash::MinHash(int64_t buckets, int64_t hashes) : buckets_(buckets), hashes_(hashes) {
  for (uint64_t i = 0; i < uint64_t(buckets * hashes); ++i) {
    factors_.push_back(random_bits(1, stream_id("data.min_hash"), 2 * i) | 1);
    offsets_.push_back(random_bits(1, stream_id("data.min_hash"), 2 * i + 1));
  }
}

void MinHash::keys(std::span<const uint64_t> groups, uint64_t* keys) const {
  std::vector<uint64_t> least(factors_.size());
  kernels::least_values(isa_, {.x = groups.data(),
                               .n = int64_t(groups.size()),
                               .factors = factors_.data(),
                               .offsets = offsets_.data(),
                               .functions = int64_t(factors_.size()),
                               .least = least.data()});
  for (int64_t bucket = 0; bucket < buckets_; ++bucket)
    keys[bucket] = hash64({reinterpret_cast<const char*>(&least[size_t(bucket * hashes_)]), size_t(hashes_) * 8});
}

double jaccard(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  size_t both = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j]) {
      ++both, ++i, ++j;
    } else if (a[i] < b[j]) {
      ++i;
    } else {
      ++j;
    }
  }
  const size_t either = a.size() + b.size() - both;
  return either == 0 ? 1 : double(both) / double(either);
}

}  // namespace hadal::data
