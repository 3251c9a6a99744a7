// Eight functions at a time: their minima stay in registers while the groups pass by.
#include "data/min_hash.h"

#include <algorithm>
#include <string_view>

#include "base/hash.h"
#include "base/random.h"

namespace hadal::data {
namespace {

constexpr int64_t kAtOnce = 8;

void minima(std::span<const uint64_t> groups, const uint64_t* factors, const uint64_t* offsets, uint64_t* least) {
  uint64_t m[kAtOnce];
  std::fill(m, m + kAtOnce, ~uint64_t(0));
  for (const uint64_t group : groups) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < kAtOnce; ++i) {
      const uint64_t h = group * factors[i] + offsets[i];
      m[i] = h < m[i] ? h : m[i];
    }
  }
  std::copy(m, m + kAtOnce, least);
}

}  // namespace

MinHash::MinHash(int64_t buckets, int64_t hashes) : buckets_(buckets), hashes_(hashes) {
  const uint64_t n = uint64_t((buckets * hashes + kAtOnce - 1) / kAtOnce * kAtOnce);  // the last ones are for nobody
  for (uint64_t i = 0; i < n; ++i) {
    factors_.push_back(random_bits(1, stream_id("data.min_hash"), 2 * i) | 1);
    offsets_.push_back(random_bits(1, stream_id("data.min_hash"), 2 * i + 1));
  }
}

void MinHash::keys(std::span<const uint64_t> groups, uint64_t* keys) const {
  std::vector<uint64_t> least(factors_.size());
  for (size_t i = 0; i < least.size(); i += kAtOnce) minima(groups, &factors_[i], &offsets_[i], &least[i]);
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
