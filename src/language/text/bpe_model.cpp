#include "text/bpe_model.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "base/error.h"

namespace hadal {
namespace {

constexpr size_t kLongWord = 96;  // tokens from which the heap is faster than scanning

}  // namespace

bool WordCache::find(std::string_view word, uint64_t hash, std::vector<int32_t>& ids) const {
  const Entry& entry = entries_[hash % kEntries];
  if (entry.n_bytes != word.size() || std::memcmp(entry.bytes, word.data(), word.size()) != 0) return false;
  ids.insert(ids.end(), entry.ids, entry.ids + entry.n_ids);
  return true;
}

void WordCache::keep(std::string_view word, uint64_t hash, const int32_t* ids, size_t n_ids) {
  if (n_ids > kMostIds) return;
  Entry& entry = entries_[hash % kEntries];
  entry.n_bytes = uint8_t(word.size());
  entry.n_ids = uint8_t(n_ids);
  std::memcpy(entry.bytes, word.data(), word.size());
  std::copy_n(ids, n_ids, entry.ids);
}

BpeModel::BpeModel(std::vector<Merge> merges, const std::array<int32_t, 256>& byte_ids, bool equal_ranks)
    : table_(std::move(merges), equal_ranks), byte_ids_(byte_ids), byte_pair_ranks_(256 * 256) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) byte_pair_ranks_[a * 256 + b] = table_.rank(byte_ids_[a], byte_ids_[b]);
  }
}

const BpeWalk* BpeModel::walk() const {
  std::call_once(walk_made_, [this] { walk_ = BpeWalk::make(table_, byte_ids_); });
  return walk_ ? &*walk_ : nullptr;
}

void BpeModel::encode(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  if (word.size() == 1) {
    ids.push_back(byte_ids_[uint8_t(word[0])]);
    return;
  }
  if (word.size() > WordCache::kMostBytes) {
    encode_afresh(word, scratch, ids);
    return;
  }
  const uint64_t hash = word_hash(word);
  if (scratch.cache.find(word, hash, ids)) return;
  const size_t before = ids.size();
  encode_afresh(word, scratch, ids);
  scratch.cache.keep(word, hash, ids.data() + before, ids.size() - before);
}

void BpeModel::encode_afresh(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  if (whole_words_ != nullptr) {
    if (const int32_t whole = whole_words_->find(word); whole >= 0) {
      ids.push_back(whole);
      return;
    }
  }
  if (scratch.merged_bytes < kFewBytes) {
    scratch.merged_bytes += word.size();
    encode_by_merging(word, scratch, ids);
  } else if (const BpeWalk* found = walk()) {
    found->encode(word, scratch.dead, ids);
  } else {
    encode_by_merging(word, scratch, ids);
  }
}

void BpeModel::encode_by_merging(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  const size_t n = word.size();
  scratch.ids.resize(n);
  scratch.ranks.resize(n);
  for (size_t i = 0; i < n; ++i) scratch.ids[i] = byte_ids_[uint8_t(word[i])];
  for (size_t i = 0; i + 1 < n; ++i) scratch.ranks[i] = byte_pair_ranks_[uint8_t(word[i]) * 256 + uint8_t(word[i + 1])];
  scratch.ranks[n - 1] = MergeTable::kNone;
  if (n < kLongWord) {
    scan(scratch, ids);
  } else {
    heap(scratch, ids);
  }
}

void BpeModel::scan(BpeScratch& scratch, std::vector<int32_t>& out) const {
  int32_t* ids = scratch.ids.data();
  uint32_t* ranks = scratch.ranks.data();  // ranks[i] is that of the pair (i, i+1)
  size_t n = scratch.ids.size();
  while (n > 1) {
    size_t best = 0;
    uint32_t lowest = ranks[0];
    for (size_t i = 1; i + 1 < n; ++i) {
      if (ranks[i] < lowest) {
        lowest = ranks[i];
        best = i;
      }
    }
    if (lowest == MergeTable::kNone) break;
    ids[best] = table_.merges()[lowest].result;
    std::memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
    std::memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
    --n;
    ranks[best] = best + 1 < n ? table_.rank(ids[best], ids[best + 1]) : MergeTable::kNone;
    if (best > 0) ranks[best - 1] = table_.rank(ids[best - 1], ids[best]);
  }
  out.insert(out.end(), ids, ids + n);
}

void BpeModel::heap(BpeScratch& scratch, std::vector<int32_t>& out) const {
  std::vector<int32_t>&ids = scratch.ids, &next = scratch.next, &previous = scratch.previous;
  std::vector<uint32_t>& ranks = scratch.ranks;
  std::vector<uint64_t>& heap = scratch.heap;  // rank, position: the leftmost of equal ranks comes first
  const auto n = int32_t(ids.size());
  check(ids.size() < size_t(INT32_MAX), ErrorKind::unsupported, "a piece of text of {} bytes without a place to split",
        ids.size());
  next.resize(n);
  previous.resize(n);
  heap.clear();
  for (int32_t i = 0; i < n; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;
    if (ranks[i] != MergeTable::kNone) heap.push_back(uint64_t(ranks[i]) << 32 | uint32_t(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  auto update = [&](int32_t at) {
    ranks[at] = next[at] < n ? table_.rank(ids[at], ids[next[at]]) : MergeTable::kNone;
    if (ranks[at] == MergeTable::kNone) return;
    heap.push_back(uint64_t(ranks[at]) << 32 | uint32_t(at));
    std::push_heap(heap.begin(), heap.end(), std::greater<>());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const auto at = int32_t(heap.back() & UINT32_MAX);
    const auto lowest = uint32_t(heap.back() >> 32);
    heap.pop_back();
    if (ranks[at] != lowest) continue;  // the pair is no longer there
    const int32_t gone = next[at];
    ids[at] = table_.merges()[lowest].result;
    ranks[gone] = MergeTable::kNone;
    next[at] = next[gone];
    if (next[at] < n) previous[next[at]] = at;
    update(at);
    if (previous[at] >= 0) update(previous[at]);
  }
  for (int32_t i = 0; i < n; i = next[i]) out.push_back(ids[i]);
}

}  // namespace hadal
