#include "text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <string>

#include "base/error.h"

namespace hadal {
namespace {

constexpr uint64_t kEmpty = UINT64_MAX;
constexpr int kFilterLog = 21;
constexpr size_t kFilterBits = size_t(1) << kFilterLog;
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
    : merges_(std::move(merges)), byte_ids_(byte_ids) {
  check(int64_t(merges_.size()) <= kMostMerges, ErrorKind::unsupported,
        "the tokenizer has {} merges; at most {} are supported", merges_.size(), kMostMerges);
  const size_t size = std::bit_ceil(merges_.size() * 2 + 16);
  table_.assign(size, kEmpty);
  shift_ = 64 - std::countr_zero(size);
  filter_.assign(kFilterBits / 64, 0);
  for (size_t i = 0, rank = 0; i < merges_.size(); ++i) {
    if (!equal_ranks || merges_[i].result != merges_[rank].result) rank = i;
    insert(uint64_t(merges_[i].left) << 20 | uint64_t(merges_[i].right), uint32_t(rank));
  }
  byte_pair_ranks_.resize(256 * 256);
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) byte_pair_ranks_[a * 256 + b] = rank(byte_ids_[a], byte_ids_[b]);
  }
  prepare_walk();
}

// Whether each token has one merge, behind those of its parts; made[id] is then its merge's rank + 1.
bool BpeModel::in_order(size_t n_ids, std::vector<uint32_t>& made) const {
  constexpr uint32_t kNever = UINT32_MAX;
  made.assign(n_ids, kNever);
  for (const int32_t id : byte_ids_) made[size_t(id)] = 0;
  for (size_t i = 0; i < merges_.size(); ++i) {
    const Merge& merge = merges_[i];
    if (made[size_t(merge.left)] == kNever || made[size_t(merge.right)] == kNever ||
        made[size_t(merge.result)] != kNever)
      return false;
    made[size_t(merge.result)] = uint32_t(i + 1);
  }
  return true;
}

void BpeModel::prepare_walk() {
  constexpr int32_t kMostTokenBytes = 4096;
  int32_t highest = *std::max_element(byte_ids_.begin(), byte_ids_.end());
  for (const Merge& merge : merges_) highest = std::max({highest, merge.left, merge.right, merge.result});
  std::vector<uint32_t> made;
  if (!in_order(size_t(highest) + 1, made)) return;
  parts_.resize(made.size());
  std::vector<std::string_view> bytes(made.size());  // in `all`
  std::vector<std::pair<std::string_view, int32_t>> reachable;
  reachable.reserve(merges_.size() + 256);
  std::vector<char> comes_out(made.size(), 0);
  for (const int32_t id : byte_ids_) parts_[size_t(id)].size = 1;
  size_t total = 256;
  for (size_t i = 0; i < merges_.size(); ++i) {
    const Merge& merge = merges_[i];
    const int32_t size = parts_[size_t(merge.left)].size + parts_[size_t(merge.right)].size;
    if (size > kMostTokenBytes) return parts_.clear();
    parts_[size_t(merge.result)] = {uint32_t(i + 1), merge.left, merge.right, size};
    total += size_t(size);
  }
  std::string all;
  all.reserve(total);
  for (int b = 0; b < 256; ++b) {
    const auto id = size_t(byte_ids_[size_t(b)]);
    all += char(b);
    bytes[id] = {all.data() + all.size() - 1, 1};
    comes_out[id] = 1;
    reachable.emplace_back(bytes[id], int32_t(id));
  }
  for (size_t i = 0; i < merges_.size(); ++i) {
    const Merge& merge = merges_[i];
    const auto id = size_t(merge.result);
    const size_t begin = all.size();
    all += bytes[size_t(merge.left)];
    all += bytes[size_t(merge.right)];
    bytes[id] = {all.data() + begin, all.size() - begin};
    comes_out[id] = comes_out[size_t(merge.left)] && comes_out[size_t(merge.right)] &&
                    compatible(merge.left, merge.right, uint32_t(i));
    if (comes_out[id]) reachable.emplace_back(bytes[id], merge.result);
  }
  prefixes_.assign(made.size(), -1);
  trie_ = TokenTrie(std::move(reachable), prefixes_);
}

// Whether merges of rank below `before` leave the border between the two: undoes their merges, the latest first, and
// asks at each state for a merge across the border while it lasts. Of equal ranks the left merge happens first.
bool BpeModel::compatible(int32_t left, int32_t right, uint32_t before) const {
  while (true) {
    if (rank(left, right) < before) return false;
    const Token &a = parts_[size_t(left)], &b = parts_[size_t(right)];
    if (a.made > b.made) {
      before = a.made - 1;
      left = a.right;
    } else if (b.made > 0) {
      before = b.made;
      right = b.left;
    } else {
      return true;
    }
  }
}

void BpeModel::walk(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  scratch.dead.assign(word.size() + 1, 0);
  const size_t first = out.size();
  size_t at = 0;
  int32_t token = trie_.longest(word);
  while (true) {
    const int32_t last = out.size() > first ? out.back() : -1;
    while (token >= 0) {
      const size_t end = at + size_t(parts_[size_t(token)].size);
      if (!scratch.dead[end] && (last < 0 || compatible(last, token, kNone))) break;
      token = prefixes_[size_t(token)];
    }
    if (token >= 0) {
      out.push_back(token);
      at += size_t(parts_[size_t(token)].size);
      if (at == word.size()) return;
      token = trie_.longest(word.substr(at));
    } else {  // nothing fits behind the last one: take it back and try a shorter one
      check(last >= 0, ErrorKind::internal, "no sequence of tokens stands for a piece of {} bytes", word.size());
      scratch.dead[at] = 1;
      out.pop_back();
      at -= size_t(parts_[size_t(last)].size);
      token = prefixes_[size_t(last)];
    }
  }
}

void BpeModel::insert(uint64_t key, uint32_t rank) {
  const uint64_t hash = key * 0x9E3779B97F4A7C15ull;
  filter_[hash >> (64 - kFilterLog + 6)] |= uint64_t(1) << (hash >> (64 - kFilterLog) & 63);
  size_t at = hash >> shift_;
  for (; table_[at] != kEmpty; at = (at + 1) & (table_.size() - 1)) {
    check(table_[at] >> 24 != key, ErrorKind::corrupt, "merges {} and {} of the tokenizer join the same two tokens",
          table_[at] & 0xFFFFFF, rank);
  }
  table_[at] = key << 24 | rank;
}

inline uint32_t BpeModel::rank(int32_t left, int32_t right) const {
  const uint64_t key = uint64_t(left) << 20 | uint64_t(right);
  const uint64_t hash = key * 0x9E3779B97F4A7C15ull;
  if ((filter_[hash >> (64 - kFilterLog + 6)] >> (hash >> (64 - kFilterLog) & 63) & 1) == 0) return kNone;
  size_t at = hash >> shift_;
  while (true) {
    const uint64_t entry = table_[at];
    if (entry >> 24 == key) return uint32_t(entry & 0xFFFFFF);
    if (entry == kEmpty) return kNone;
    at = (at + 1) & (table_.size() - 1);
  }
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
  if (walks()) {
    walk(word, scratch, ids);
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
  scratch.ranks[n - 1] = kNone;
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
    if (lowest == kNone) break;
    ids[best] = merges_[lowest].result;
    std::memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
    std::memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
    --n;
    ranks[best] = best + 1 < n ? rank(ids[best], ids[best + 1]) : kNone;
    if (best > 0) ranks[best - 1] = rank(ids[best - 1], ids[best]);
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
    if (ranks[i] != kNone) heap.push_back(uint64_t(ranks[i]) << 32 | uint32_t(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  auto update = [&](int32_t at) {
    ranks[at] = next[at] < n ? rank(ids[at], ids[next[at]]) : kNone;
    if (ranks[at] == kNone) return;
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
    ids[at] = merges_[lowest].result;
    ranks[gone] = kNone;
    next[at] = next[gone];
    if (next[at] < n) previous[next[at]] = at;
    update(at);
    if (previous[at] >= 0) update(previous[at]);
  }
  for (int32_t i = 0; i < n; i = next[i]) out.push_back(ids[i]);
}

}  // namespace hadal
