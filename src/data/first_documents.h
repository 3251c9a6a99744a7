// The first document of each hash. A document takes 4 bytes in a table that is never more than 70 % full; the hashes
// are the caller's.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "data/document_hash.h"

namespace hadal::data {

class FirstDocuments {
 public:
  // Whether no document before it has the hash of `document`. hash_of(document) is that of an earlier one.
  template <class HashOf>
  bool add(const Hash128& hash, int64_t document, HashOf hash_of) {
    check(document < int64_t(UINT32_MAX), ErrorKind::unsupported, "a corpus has at most {} documents", UINT32_MAX);
    if (n_ * 10 >= slots_.size() * 7) grow(hash_of);
    uint32_t& slot = slots_[slot_of(hash, hash_of)];
    if (slot != 0) return false;
    slot = uint32_t(document) + 1, ++n_;
    return true;
  }
  void clear() { slots_ = {}, n_ = 0; }

 private:
  template <class HashOf>
  size_t slot_of(const Hash128& hash, HashOf hash_of) const {
    size_t slot = size_t(hash.a) & (slots_.size() - 1);
    while (slots_[slot] != 0 && !(hash_of(slots_[slot] - 1) == hash)) slot = (slot + 1) & (slots_.size() - 1);
    return slot;
  }
  template <class HashOf>
  void grow(HashOf hash_of) {
    std::vector<uint32_t> before(std::max<size_t>(1024, slots_.size() * 2));
    before.swap(slots_);
    for (const uint32_t number : before)
      if (number != 0) slots_[slot_of(hash_of(number - 1), hash_of)] = number;
  }

  std::vector<uint32_t> slots_;  // number + 1; a power of two
  size_t n_ = 0;
};

}  // namespace hadal::data
