#include "text/bpe_walk.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"

namespace hadal {
namespace {

// Whether each token has one merge, behind those of its parts; made[id] is then its merge's rank + 1.
bool in_order(const std::vector<Merge>& merges, const std::array<int32_t, 256>& byte_ids, std::vector<uint32_t>& made) {
  constexpr uint32_t kNever = UINT32_MAX;
  std::fill(made.begin(), made.end(), kNever);
  for (const int32_t id : byte_ids) made[size_t(id)] = 0;
  for (size_t i = 0; i < merges.size(); ++i) {
    const Merge& merge = merges[i];
    if (made[size_t(merge.left)] == kNever || made[size_t(merge.right)] == kNever ||
        made[size_t(merge.result)] != kNever)
      return false;
    made[size_t(merge.result)] = uint32_t(i + 1);
  }
  return true;
}

}  // namespace

std::optional<BpeWalk> BpeWalk::make(const MergeTable& table, const std::array<int32_t, 256>& byte_ids) {
  int32_t highest = *std::max_element(byte_ids.begin(), byte_ids.end());
  for (const Merge& merge : table.merges()) highest = std::max({highest, merge.left, merge.right, merge.result});
  std::vector<uint32_t> made(size_t(highest) + 1);
  if (!in_order(table.merges(), byte_ids, made)) return std::nullopt;
  BpeWalk walk(table);
  walk.parts_.resize(made.size());
  for (const int32_t id : byte_ids) walk.parts_[size_t(id)].size = 1;
  if (!walk.measure()) return std::nullopt;
  walk.grow(byte_ids);
  return walk;
}

// The parts and sizes of all tokens; false where one is too long.
bool BpeWalk::measure() {
  constexpr int32_t kMostTokenBytes = 4096;
  const std::vector<Merge>& merges = table_->merges();
  for (size_t i = 0; i < merges.size(); ++i) {
    const Merge& merge = merges[i];
    const int32_t size = parts_[size_t(merge.left)].size + parts_[size_t(merge.right)].size;
    if (size > kMostTokenBytes) return false;
    parts_[size_t(merge.result)] = {uint32_t(i + 1), merge.left, merge.right, size};
  }
  return true;
}

// The tree of the tokens that come out.
void BpeWalk::grow(const std::array<int32_t, 256>& byte_ids) {
  const std::vector<Merge>& merges = table_->merges();
  size_t total = 256;
  for (const Merge& merge : merges) total += size_t(parts_[size_t(merge.result)].size);
  std::string all;
  all.reserve(total);
  std::vector<std::string_view> bytes(parts_.size());  // in `all`
  std::vector<std::pair<std::string_view, int32_t>> reachable;
  reachable.reserve(merges.size() + 256);
  std::vector<char> comes_out(parts_.size(), 0);
  for (int b = 0; b < 256; ++b) {
    const auto id = size_t(byte_ids[size_t(b)]);
    all += char(b);
    bytes[id] = {all.data() + all.size() - 1, 1};
    comes_out[id] = 1;
    reachable.emplace_back(bytes[id], int32_t(id));
  }
  for (size_t i = 0; i < merges.size(); ++i) {
    const Merge& merge = merges[i];
    const auto id = size_t(merge.result);
    const size_t begin = all.size();
    all += bytes[size_t(merge.left)];
    all += bytes[size_t(merge.right)];
    bytes[id] = {all.data() + begin, all.size() - begin};
    comes_out[id] = comes_out[size_t(merge.left)] && comes_out[size_t(merge.right)] &&
                    compatible(merge.left, merge.right, uint32_t(i));
    if (comes_out[id]) reachable.emplace_back(bytes[id], merge.result);
  }
  prefixes_.assign(parts_.size(), -1);
  trie_ = TokenTrie(std::move(reachable), prefixes_);
}

// Whether merges of rank below `before` leave the border between the two: undoes their merges, the latest first, and
// asks at each state for a merge across the border while it lasts. Of equal ranks the left merge happens first.
bool BpeWalk::compatible(int32_t left, int32_t right, uint32_t before) const {
  while (true) {
    if (table_->rank(left, right) < before) return false;
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

void BpeWalk::encode(std::string_view word, std::vector<uint8_t>& dead, std::vector<int32_t>& out) const {
  dead.assign(word.size() + 1, 0);
  const size_t first = out.size();
  size_t at = 0;
  int32_t token = trie_.longest(word);
  while (true) {
    const int32_t last = out.size() > first ? out.back() : -1;
    while (token >= 0) {
      const size_t end = at + size_t(parts_[size_t(token)].size);
      if (!dead[end] && (last < 0 || compatible(last, token, MergeTable::kNone))) break;
      token = prefixes_[size_t(token)];
    }
    if (token >= 0) {
      out.push_back(token);
      at += size_t(parts_[size_t(token)].size);
      if (at == word.size()) return;
      token = trie_.longest(word.substr(at));
    } else {  // nothing fits behind the last one: take it back and try a shorter one
      check(last >= 0, ErrorKind::internal, "no sequence of tokens stands for a piece of {} bytes", word.size());
      dead[at] = 1;
      out.pop_back();
      at -= size_t(parts_[size_t(last)].size);
      token = prefixes_[size_t(last)];
    }
  }
}

}  // namespace hadal
