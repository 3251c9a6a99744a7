// Groups of words are known by hashes of 64 bits.
#include "data/repeated_words.h"

#include <algorithm>
#include <bit>

namespace hadal::data {
namespace {

constexpr uint64_t inverse_of(uint64_t odd) {  // Newton: each step doubles the bits that are right
  uint64_t inverse = odd;
  for (int step = 0; step < 5; ++step) inverse *= 2 - odd * inverse;
  return inverse;
}

constexpr uint64_t kInverseBase = inverse_of(kHashBase);
static_assert(kHashBase * kInverseBase == 1);

uint64_t power_of(uint64_t base, int64_t exponent) {
  uint64_t power = 1;
  for (; exponent > 0; exponent >>= 1, base *= base)
    if (exponent & 1) power *= base;
  return power;
}

}  // namespace

void RepeatedWords::Runs::begin(size_t words) {
  for (auto* list : {&hash, &power, &inverse}) list->reserve(words + 1);
  hash.push_back(0), power.push_back(1), inverse.push_back(1);
}

void RepeatedWords::Runs::add(uint64_t word_hash, uint64_t word_power, uint64_t inverse_power) {
  hash.push_back(hash.back() * word_power + word_hash);
  power.push_back(power.back() * word_power);
  inverse.push_back(inverse.back() * inverse_power);
}

RepeatedWords::RepeatedWords(const std::vector<WordSpan>& words) : words_(words) {
  with_spaces_.begin(words.size()), joined_.begin(words.size());
  uint64_t powers[16];
  for (int64_t i = 0; i < 16; ++i) powers[i] = power_of(kInverseBase, i);
  for (const WordSpan& word : words) {
    const uint64_t inverse = word.size() < 16 ? powers[word.size()] : power_of(kInverseBase, word.size());
    joined_.add(word.hash, word.power, inverse);
    with_spaces_.add((' ' + 1) * word.power + word.hash, word.power * kHashBase, inverse * kInverseBase);
  }
}

template <class Slot>
void RepeatedWords::clear(std::vector<Slot>& table, int64_t n_groups) {
  const size_t slots = std::bit_ceil(size_t(std::max<int64_t>(16, 2 * n_groups)));
  mask_ = slots - 1;
  table.assign(slots, {});
}

int64_t RepeatedWords::top(int64_t n) {
  const int64_t last = int64_t(words_.size()) - n;
  if (last < 0) return 0;
  clear(table_, last + 1);
  Met most;
  for (int64_t i = 0; i <= last; ++i) {
    const uint64_t hash = with_spaces_.of(i, i + n);
    uint64_t slot = (hash ^ (hash >> 32)) & mask_;
    while (table_[slot].times > 0 && table_[slot].hash != hash) slot = (slot + 1) & mask_;
    Met& one = table_[slot];
    if (one.times++ == 0) one.hash = hash, one.first = uint32_t(i);
    if (one.times > most.times || (one.times == most.times && one.first < most.first)) most = one;
  }
  int64_t characters = n - 1;
  for (int64_t i = most.first; i < int64_t(most.first) + n; ++i) characters += words_[size_t(i)].size();
  return characters * most.times;
}

int64_t RepeatedWords::repeated(int64_t n) {
  const int64_t last = int64_t(words_.size()) - n;
  if (last < 0) return 0;
  clear(seen_, last + 1);
  int64_t characters = 0;
  for (int64_t i = 0; i <= last;) {
    const uint64_t hash = std::max<uint64_t>(1, joined_.of(i, i + n));
    uint64_t slot = (hash ^ (hash >> 32)) & mask_;
    while (seen_[slot] != 0 && seen_[slot] != hash) slot = (slot + 1) & mask_;
    if (seen_[slot] == 0) {
      seen_[slot] = hash;
      ++i;
      continue;
    }
    for (int64_t k = i; k < i + n; ++k) characters += words_[size_t(k)].size();
    i += n;
  }
  return characters;
}

}  // namespace hadal::data
