#include "text/bpe_model.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "text/text_testing.h"

namespace hadal {
namespace {

std::array<int32_t, 256> bytes_in_order() {
  std::array<int32_t, 256> ids;
  for (int b = 0; b < 256; ++b) ids[size_t(b)] = b;
  return ids;
}

// The definition, step by step: the lowest rank, of equals the leftmost.
std::vector<int32_t> by_definition(const std::vector<Merge>& merges, const std::string& word) {
  std::map<std::pair<int32_t, int32_t>, std::pair<size_t, int32_t>> ranks;
  for (size_t i = 0; i < merges.size(); ++i) ranks[{merges[i].left, merges[i].right}] = {i, merges[i].result};
  std::vector<int32_t> ids;
  for (char c : word) ids.push_back(uint8_t(c));
  while (true) {
    size_t best = SIZE_MAX, at = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = ranks.find({ids[i], ids[i + 1]});
      if (found != ranks.end() && found->second.first < best) best = found->second.first, at = i;
    }
    if (best == SIZE_MAX) return ids;
    ids[at] = merges[best].result;
    ids.erase(ids.begin() + int64_t(at) + 1);
  }
}

// Random merges over a few letters, each of tokens that are there already; none twice, none for bytes that another one
// made.
std::vector<Merge> random_merges(uint64_t seed, int64_t letters, int64_t n) {
  std::vector<Merge> merges;
  std::map<std::string, int32_t> known;
  std::vector<std::string> bytes(256);
  std::vector<int32_t> ids;
  for (int b = 0; b < 256; ++b) bytes[size_t(b)] = std::string(1, char(b));
  for (int64_t i = 0; i < letters; ++i) ids.push_back(int32_t('a' + i));
  for (int64_t i = 0; i < n * 4 && int64_t(merges.size()) < n; ++i) {
    const int32_t left = ids[size_t(random_below(seed, 3, i, ids.size()))],
                  right = ids[size_t(random_below(seed, 4, i, ids.size()))];
    const std::string whole = bytes[size_t(left)] + bytes[size_t(right)];
    if (whole.size() > 12 || !known.emplace(whole, 0).second) continue;
    ids.push_back(int32_t(bytes.size()));
    merges.push_back({left, right, int32_t(bytes.size())});
    bytes.push_back(whole);
  }
  return merges;
}

TEST(BpeModel, WalksToWhatMergingGives) {
  BpeScratch scratch;
  int64_t tokens = 0, bytes = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const int64_t letters = 1 + int64_t(seed % 4);
    const std::vector<Merge> merges = random_merges(seed, letters, 1 + int64_t(seed % 60));
    const BpeModel model(merges, bytes_in_order());
    ASSERT_NE(model.walk(), nullptr);
    for (uint64_t round = 0; round < 40; ++round) {
      std::string word;
      for (uint64_t i = 0; i < 1 + round * 3; ++i)
        word += char('a' + random_below(seed, 5 + round, i, uint64_t(letters)));
      const std::vector<int32_t> wanted = by_definition(merges, word);
      std::vector<int32_t> walked, merged;
      model.walk()->encode(word, scratch.dead, walked);
      model.encode_by_merging(word, scratch, merged);
      ASSERT_EQ(walked, wanted) << word << " with merges of seed " << seed;
      ASSERT_EQ(merged, wanted) << word;
      tokens += int64_t(wanted.size());
      bytes += int64_t(word.size());
    }
  }
  EXPECT_LT(tokens * 3, bytes * 2);
}

TEST(BpeModel, WalksOverCharactersOfThreeBytes) {
  std::vector<Merge> merges;
  const std::string characters = "中文国";
  for (size_t at = 0; at < characters.size();
       at += 3) {  // each character, then pairs of them, then one with half of another
    const auto byte = [&](size_t i) { return int32_t(uint8_t(characters[at + i])); };
    const auto id = int32_t(256 + merges.size());
    merges.push_back({byte(0), byte(1), id});
    merges.push_back({id, byte(2), id + 1});
  }
  merges.push_back({257, 259, 262});
  merges.push_back({262, 261, 263});
  merges.push_back({259, 0xE4, 264});
  merges.push_back({264, 0xB8, 265});
  const BpeModel model(merges, bytes_in_order());
  ASSERT_NE(model.walk(), nullptr);
  BpeScratch scratch;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    std::string word;
    for (uint64_t i = 0; i < 12; ++i)
      word += characters.substr(random_below(seed, 1, i, 3) * 3, 3 - (random_below(seed, 2, i, 6) == 0));
    std::vector<int32_t> walked;
    model.walk()->encode(word, scratch.dead, walked);
    ASSERT_EQ(walked, by_definition(merges, word)) << seed;
  }
}

TEST(BpeModel, MergesStepByStepWhereMergesAreOutOfOrder) {
  const std::vector<Merge> merges = {{256, 'c', 257}, {'a', 'b', 256}};  // the first needs what the second makes
  const BpeModel model(merges, bytes_in_order());
  EXPECT_EQ(model.walk(), nullptr);
  BpeScratch scratch;
  std::vector<int32_t> ids;
  model.encode_afresh("abcab", scratch, ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{257, 256}));
  const BpeModel two_ways({{'a', 'b', 256}, {'c', 'd', 256}}, bytes_in_order()),
      no_part({{'a', 300, 301}}, bytes_in_order());
  EXPECT_EQ(two_ways.walk(), nullptr);  // to one token
  EXPECT_EQ(no_part.walk(), nullptr);
}

TEST(BpeModel, LeavesOutTokensThatNeverComeOut) {
  // "bc" is joined before "ab", so that "abc" is never made.
  const std::vector<Merge> merges = {{'b', 'c', 256}, {'a', 'b', 257}, {257, 'c', 258}};
  const BpeModel model(merges, bytes_in_order());
  BpeScratch scratch;
  std::vector<int32_t> ids;
  model.walk()->encode("abcab", scratch.dead, ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{'a', 256, 257}));
}

// A thread merges its first 64 KiB of words, then walks.
TEST(BpeModel, GivesTheSameBeforeAndAfterItsTablesAreMade) {
  const std::vector<Merge> merges = random_merges(7, 4, 50);
  const BpeModel model(merges, bytes_in_order());
  BpeScratch scratch;
  for (uint64_t round = 0; round < 600; ++round) {
    std::string word;
    for (uint64_t i = 0; i < 250; ++i) word += char('a' + random_below(9, round, i, 4));
    std::vector<int32_t> ids, merged;
    model.encode_afresh(word, scratch, ids);
    model.encode_by_merging(word, scratch, merged);
    ASSERT_EQ(ids, merged) << word << " after " << scratch.merged_bytes << " bytes";
  }
  EXPECT_GE(scratch.merged_bytes, 65536u);
  EXPECT_LT(scratch.merged_bytes, 66000u);
  EXPECT_FALSE(scratch.dead.empty());  // which the walk alone uses
}

}  // namespace
}  // namespace hadal
