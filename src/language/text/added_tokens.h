// Finds added tokens in text: the leftmost, of those that start there the longest.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal {

class AddedTokenFinder {
 public:
  void add(std::string_view content, int32_t id);
  bool empty() const { return nodes_.size() == 1; }

  struct Found {
    size_t begin = 0, end = 0;
    int32_t id = -1;  // -1: none
  };
  Found find(std::string_view text, size_t from) const;

 private:
  struct Node {
    int32_t id = -1;
    std::vector<std::pair<char, int32_t>> children;
  };
  int32_t child(int32_t node, char c) const;
  std::vector<Node> nodes_ = std::vector<Node>(1);  // a tree of characters, the root first
  std::array<bool, 256> starts_{};
};

// The neighbourhood of text[begin, end): no word character beside it; white space before `end` and from `at` on.
bool stands_alone(std::string_view text, size_t begin, size_t end);
size_t white_space_begin(std::string_view text, size_t end);
size_t white_space_end(std::string_view text, size_t at);

}  // namespace hadal
