// Documents are known by a 128-bit hash of their bytes.
#pragma once
#include <cstdint>
#include <string_view>

#include "base/hash.h"

namespace hadal::data {

struct Hash128 {
  uint64_t a = 0, b = 0;
  bool operator==(const Hash128&) const = default;
};

inline Hash128 document_hash(std::string_view text) {
  return {hash64(text, 0x9e3779b97f4a7c15ull), hash64(text, 0xc2b2ae3d27d4eb4full)};
}

inline double as_share(uint64_t hash) { return double(hash >> 11) * 0x1p-53; }  // in [0, 1)

// Whether a document is among those that a look at a share of all takes; by another half than its split (corpus.h).
inline bool in_sample(const Hash128& hash, double sample) { return sample >= 1 || as_share(hash.b) < sample; }

}  // namespace hadal::data
