#include "text/token_index.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace hadal {
namespace {

uint64_t load(const char* at, size_t bytes) {
  uint64_t value = 0;
  std::memcpy(&value, at, bytes);
  return value;
}

uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return uint64_t(product) ^ uint64_t(product >> 64);
}

}  // namespace

uint64_t word_hash(std::string_view word) {
  const char* at = word.data();
  size_t left = word.size();
  uint64_t hash = 0x9E3779B97F4A7C15ull ^ left;
  for (; left > 8; left -= 8, at += 8) hash = mix(hash ^ load(at, 8), 0xD6E8FEB86659FD93ull);
  uint64_t tail;
  if (word.size() >= 8) {
    tail = load(word.data() + word.size() - 8, 8);
  } else if (left >= 4) {
    tail = load(at, 4) | load(at + left - 4, 4) << 32;
  } else if (left > 0) {
    tail = uint64_t(uint8_t(at[0])) | uint64_t(uint8_t(at[left / 2])) << 8 | uint64_t(uint8_t(at[left - 1])) << 16;
  } else {
    tail = 0;
  }
  return mix(hash ^ tail, 0xA0761D6478BD642Full);
}

TokenIndex::TokenIndex(size_t expected) {
  entries_.reserve(expected);
  spread(std::bit_ceil(expected * 2 + 16));
}

void TokenIndex::spread(size_t n_slots) {
  slots_.assign(n_slots, Slot());
  for (size_t i = 0; i < entries_.size(); ++i) {
    const uint64_t hash = word_hash(entries_[i].first);
    size_t at = size_t(hash) & (n_slots - 1);
    while (slots_[at].entry != 0) at = (at + 1) & (n_slots - 1);
    slots_[at] = {uint32_t(hash >> 32), uint32_t(i + 1)};
  }
}

bool TokenIndex::add(std::string_view text, int32_t id) {
  if (2 * (entries_.size() + 1) > slots_.size()) spread(slots_.size() * 2);
  const uint64_t hash = word_hash(text);
  size_t at = size_t(hash) & (slots_.size() - 1);
  for (; slots_[at].entry != 0; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].tag == uint32_t(hash >> 32) && entries_[slots_[at].entry - 1].first == text) return false;
  }
  entries_.emplace_back(text, id);
  slots_[at] = {uint32_t(hash >> 32), uint32_t(entries_.size())};
  return true;
}

int32_t TokenIndex::find(std::string_view text) const {
  const uint64_t hash = word_hash(text);
  for (size_t at = size_t(hash) & (slots_.size() - 1); slots_[at].entry != 0; at = (at + 1) & (slots_.size() - 1)) {
    const auto& [known, id] = entries_[slots_[at].entry - 1];
    if (slots_[at].tag == uint32_t(hash >> 32) && known == text) return id;
  }
  return -1;
}

}  // namespace hadal
