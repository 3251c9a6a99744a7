// Byte-level BPE left to right. Where each token has one merge, which comes after those of its parts, merges happen in
// the order of their ranks. Then a sequence of tokens is the outcome if and only if each two neighbours alone would
// come out as they are: no merge across their border, at the time at which both its sides exist. So the outcome is
// found the longest token first, stepping back where nothing fits. Immutable and thread-safe.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/merge_table.h"
#include "text/token_trie.h"

namespace hadal {

class BpeWalk {
 public:
  // byte_ids[b] is the token of byte b; the table outlives the walk. None where the merges are out of order, or a token
  // is longer than 4,096 bytes.
  static std::optional<BpeWalk> make(const MergeTable& table, const std::array<int32_t, 256>& byte_ids);

  // Appends the ids of a word that is not empty. dead: working memory.
  void encode(std::string_view word, std::vector<uint8_t>& dead, std::vector<int32_t>& ids) const;

 private:
  explicit BpeWalk(const MergeTable& table) : table_(&table) {}
  bool compatible(int32_t left, int32_t right, uint32_t before) const;
  bool measure();
  void grow(const std::array<int32_t, 256>& byte_ids);

  struct Token {
    uint32_t made = 0;  // rank of its merge + 1; 0: a byte
    int32_t left = -1, right = -1;
    int32_t size = 0;
  };
  const MergeTable* table_;
  std::vector<Token> parts_;       // by id
  std::vector<int32_t> prefixes_;  // by id: the longest token that it begins with
  TokenTrie trie_;
};

}  // namespace hadal
