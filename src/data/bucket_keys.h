// The keys of a rank's documents in the buckets of MinHash, document after document.
// Memory: 8 bytes per bucket of a document, and 4 more.
#pragma once
#include <cstdint>
#include <deque>
#include <span>

#include "base/error.h"

namespace hadal::data {

class BucketKeys {
 public:
  explicit BucketKeys(int64_t buckets) : buckets_(size_t(buckets)) {}

  // `document` rises from call to call. Documents with different `domain` have no key in common.
  void add(int64_t document, std::span<const uint64_t> keys, uint64_t domain) {
    check(document < int64_t(UINT32_MAX), ErrorKind::unsupported,
          "near duplicates of more than {} documents are not looked for: set data.near_duplicates.across = \"off\"",
          UINT32_MAX);
    documents_.push_back(uint32_t(document));
    for (const uint64_t key : keys) keys_.push_back(key + domain * 0x9e3779b97f4a7c15ull);
  }

  size_t size() const { return documents_.size(); }
  uint32_t document(size_t at) const { return documents_[at]; }
  uint64_t key(size_t at, size_t bucket) const { return keys_[at * buckets_ + bucket]; }
  size_t buckets() const { return buckets_; }

  // Keeps those for which number(document) is not negative, under that number. Numbers rise as documents do.
  template <class Number>
  void renumber(Number number) {
    size_t kept = 0;
    for (size_t at = 0; at < documents_.size(); ++at) {
      const int64_t now = number(documents_[at]);
      if (now < 0) continue;
      documents_[kept] = uint32_t(now);
      if (kept != at)
        for (size_t b = 0; b < buckets_; ++b) keys_[kept * buckets_ + b] = keys_[at * buckets_ + b];
      ++kept;
    }
    documents_.resize(kept), keys_.resize(kept * buckets_);
    documents_.shrink_to_fit(), keys_.shrink_to_fit();
  }
  // Forgets the first, and gives its memory back.
  void pop_front() {
    documents_.pop_front();
    keys_.erase(keys_.begin(), keys_.begin() + int64_t(buckets_));
  }

 private:
  size_t buckets_;
  std::deque<uint32_t> documents_;
  std::deque<uint64_t> keys_;  // [document][bucket]
};

}  // namespace hadal::data
