// The tokens that BPE can make, as a tree of bytes: the longest one at a place, and for each the longest that it begins
// with. The first two or three bytes are looked up at once.
#pragma once
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal {

class TokenTrie {
 public:
  TokenTrie() = default;
  // Bytes (needed in this call only) and ids of distinct tokens; every single byte is among them. prefixes[id] becomes
  // the longest token that id's bytes begin with, itself excepted; -1 if there is none.
  TokenTrie(std::vector<std::pair<std::string_view, int32_t>> tokens, std::vector<int32_t>& prefixes);

  bool empty() const { return nodes_.empty(); }
  int32_t longest(std::string_view text) const;  // of text that is not empty

 private:
  // Children of a node lie side by side in nodes_. Their bytes are in the node if they are few, so that a step down is
  // one look into memory; else in bytes_, at the children's indexes.
  struct Node {
    static constexpr size_t kInside = 6;
    uint32_t first_child = 0;
    int32_t longest = -1;  // token that ends here, else the longest on the way here
    uint8_t bytes[kInside] = {};
    uint16_t n_children : 15 = 0;
    uint16_t ends_inside : 1 = 0;  // a token ends inside the three-byte character that follows
  };
  static_assert(sizeof(Node) == 16);
  uint32_t child(uint32_t node, uint8_t byte) const;
  uint32_t child_of_triple(uint32_t node, uint32_t triple) const;
  void build_shortcuts();
  void build_characters();
  std::vector<Node> nodes_;  // the root first, then level by level
  std::vector<uint8_t> bytes_;
  std::vector<uint32_t> pairs_;  // [256 * 256] node of the first two bytes, 0 where none
  std::vector<uint32_t>
      triples_;  // [16 * 64 * 64] node of a first character of three bytes (Han and kana), 0 where none
  std::vector<int32_t> singles_;  // [256] token of the first byte
  std::vector<uint64_t>
      characters_;  // steps over such a character: node 24 bits, character 16, node then 24; linear probing
  int shift_ = 0;
};

}  // namespace hadal
