#include "text/token_trie.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace hadal {
namespace {

constexpr uint64_t kFactor = 0x9E3779B97F4A7C15ull;
constexpr uint64_t kFree = UINT64_MAX;

// The number of a character of three bytes, or kNoTriple where none stands.
constexpr uint32_t kNoTriple = UINT32_MAX;
uint32_t triple_of(const char* text) {
  const auto a = uint8_t(text[0]), b = uint8_t(text[1]), c = uint8_t(text[2]);
  if ((a & 0xF0) != 0xE0 || (b & 0xC0) != 0x80 || (c & 0xC0) != 0x80) return kNoTriple;
  return uint32_t(a & 15) << 12 | uint32_t(b & 63) << 6 | (c & 63);
}

// The first bytes as a number of the same order; zeros behind a shorter text.
uint64_t first_eight(std::string_view text) {
  uint64_t number = 0;
  for (size_t i = 0; i < 8; ++i) number = number << 8 | (i < text.size() ? uint8_t(text[i]) : 0);
  return number;
}

// A token, with its first bytes beside it: what most comparisons need.
struct Sorted {
  uint64_t first = 0;
  std::string_view text;
  int32_t id = 0;

  uint8_t byte(size_t at) const { return at < 8 ? uint8_t(first >> (56 - 8 * at)) : uint8_t(text[at]); }
};

// By their first bytes, digit after digit of 16 bits, the last one first; what then is equal is compared whole.
void sort_all(std::vector<Sorted>& tokens) {
  std::vector<Sorted> other(tokens.size());
  for (int shift = 0; shift < 64; shift += 16) {
    std::vector<uint32_t> place(65537, 0);
    for (const Sorted& token : tokens) ++place[(token.first >> shift & 0xFFFF) + 1];
    for (size_t i = 1; i < place.size(); ++i) place[i] += place[i - 1];
    for (const Sorted& token : tokens) other[place[token.first >> shift & 0xFFFF]++] = token;
    tokens.swap(other);
  }
  for (auto begin = tokens.begin(); begin != tokens.end();) {
    const auto end =
        std::find_if(begin, tokens.end(), [&](const Sorted& token) { return token.first != begin->first; });
    if (end - begin > 1) std::sort(begin, end, [](const Sorted& a, const Sorted& b) { return a.text < b.text; });
    begin = end;
  }
}

// Of the tree of sorted tokens: each adds the bytes that it does not share with the one before.
size_t count_nodes(const std::vector<Sorted>& tokens) {
  size_t nodes = 1;
  std::string_view before;
  for (const Sorted& token : tokens) {
    const auto differ = std::mismatch(before.begin(), before.end(), token.text.begin(), token.text.end());
    nodes += size_t(token.text.end() - differ.second);
    before = token.text;
  }
  return nodes;
}

}  // namespace

TokenTrie::TokenTrie(std::vector<std::pair<std::string_view, int32_t>> texts, std::vector<int32_t>& prefixes) {
  std::vector<Sorted> tokens;
  tokens.reserve(texts.size());
  for (const auto& [text, id] : texts) tokens.push_back({first_eight(text), text, id});
  sort_all(tokens);
  struct Range {  // of sorted tokens that share the node's bytes; prefix: the longest token on the way to it
    uint32_t begin, end, depth;
    int32_t prefix;
  };
  const size_t n_nodes = count_nodes(tokens);
  nodes_.reserve(n_nodes);
  bytes_.reserve(n_nodes);
  std::vector<Range> ranges;
  ranges.reserve(n_nodes);
  ranges.push_back({0, uint32_t(tokens.size()), 0, -1});
  nodes_.emplace_back();
  bytes_.push_back(0);
  for (size_t node = 0; node < nodes_.size(); ++node) {
    auto [at, end, depth, prefix] = ranges[node];
    if (tokens[at].text.size() == depth) {
      prefixes[size_t(tokens[at].id)] = prefix;
      prefix = tokens[at].id;
      ++at;
    }
    nodes_[node].longest = prefix;
    nodes_[node].first_child = uint32_t(nodes_.size());
    while (at < end) {
      const uint8_t byte = tokens[at].byte(depth);
      const uint32_t begin = at;
      while (at < end && tokens[at].byte(depth) == byte) ++at;
      ranges.push_back({begin, at, depth + 1, prefix});
      nodes_.emplace_back();
      bytes_.push_back(byte);
    }
    nodes_[node].n_children = uint16_t(nodes_.size() - nodes_[node].first_child);
    if (nodes_[node].n_children <= Node::kInside) {
      std::copy_n(bytes_.begin() + nodes_[node].first_child, nodes_[node].n_children, nodes_[node].bytes);
    }
  }
  build_shortcuts();
  build_characters();
}

inline uint32_t TokenTrie::child(uint32_t node, uint8_t byte) const {
  const Node& parent = nodes_[node];
  if (parent.n_children <= Node::kInside) {
    for (uint32_t i = 0; i < parent.n_children; ++i) {
      if (parent.bytes[i] == byte) return parent.first_child + i;
    }
    return 0;
  }
  const uint8_t* bytes = bytes_.data() + parent.first_child;
  const void* found = std::memchr(bytes, byte, parent.n_children);
  return found == nullptr ? 0 : parent.first_child + uint32_t(static_cast<const uint8_t*>(found) - bytes);
}

void TokenTrie::build_shortcuts() {
  pairs_.assign(256 * 256, 0);
  triples_.assign(16 * 64 * 64, 0);
  singles_.assign(256, -1);
  for (uint32_t a = 0; a < 256; ++a) {
    const uint32_t first = child(0, uint8_t(a));
    if (first == 0) continue;
    singles_[a] = nodes_[first].longest;
    for (uint32_t b = 0; b < 256; ++b) {
      const uint32_t second = child(first, uint8_t(b));
      pairs_[a * 256 + b] = second;
      if (second == 0 || a < 0xE0 || a >= 0xF0 || b < 0x80 || b >= 0xC0) continue;
      for (uint32_t c = 0x80; c < 0xC0; ++c)
        triples_[(a & 15) << 12 | (b & 63) << 6 | (c & 63)] = child(second, uint8_t(c));
    }
  }
}

void TokenTrie::build_characters() {
  std::vector<uint64_t> steps;
  const bool fits = nodes_.size() < (size_t(1) << 24);
  for (uint32_t node = 1; node < nodes_.size(); ++node) {
    for (uint32_t i = 0; i < nodes_[node].n_children; ++i) {
      const uint32_t first = nodes_[node].first_child + i, a = bytes_[first];
      if ((a & 0xF0) != 0xE0) continue;
      if (!fits || nodes_[first].longest != nodes_[node].longest) nodes_[node].ends_inside = 1;
      for (uint32_t j = 0; j < nodes_[first].n_children; ++j) {
        const uint32_t second = nodes_[first].first_child + j, b = bytes_[second];
        if (nodes_[second].longest != nodes_[first].longest) nodes_[node].ends_inside = 1;
        for (uint32_t k = 0; k < nodes_[second].n_children; ++k) {
          const uint32_t third = nodes_[second].first_child + k, c = bytes_[third];
          const char text[] = {char(a), char(b), char(c)};
          if (triple_of(text) == kNoTriple) {
            nodes_[node].ends_inside = 1;
          } else if (fits) {
            steps.push_back(uint64_t(node) << 40 | uint64_t(triple_of(text)) << 24 | third);
          }
        }
      }
    }
  }
  const size_t size = std::bit_ceil(steps.size() * 2 + 16);
  shift_ = 64 - std::countr_zero(size);
  characters_.assign(size, kFree);
  for (const uint64_t step : steps) {
    size_t at = (step >> 24) * kFactor >> shift_;
    while (characters_[at] != kFree) at = (at + 1) & (size - 1);
    characters_[at] = step;
  }
}

inline uint32_t TokenTrie::child_of_triple(uint32_t node, uint32_t triple) const {
  const uint64_t key = uint64_t(node) << 16 | triple;
  for (size_t at = key * kFactor >> shift_;; at = (at + 1) & (characters_.size() - 1)) {
    if (characters_[at] >> 24 == key) return uint32_t(characters_[at] & 0xFFFFFF);
    if (characters_[at] == kFree) return 0;
  }
}

int32_t TokenTrie::longest(std::string_view text) const {
  const auto byte = [&](size_t i) { return uint32_t(uint8_t(text[i])); };
  if (text.size() < 2) return singles_[byte(0)];
  uint32_t node = 0;
  size_t at = 3;
  const uint32_t first = text.size() >= 3 ? triple_of(text.data()) : kNoTriple;
  if (first != kNoTriple) node = triples_[first];
  if (node == 0) {
    node = pairs_[byte(0) * 256 + byte(1)];
    if (node == 0) return singles_[byte(0)];
    at = 2;
  }
  while (at < text.size()) {
    const uint32_t triple = text.size() - at >= 3 ? triple_of(text.data() + at) : kNoTriple;
    uint32_t next = 0;
    if (triple != kNoTriple) {
      next = child_of_triple(node, triple);
      if (next != 0) {
        node = next;
        at += 3;
        continue;
      }
      if (!nodes_[node].ends_inside) break;
    }
    next = child(node, uint8_t(text[at]));
    if (next == 0) break;
    node = next;
    ++at;
  }
  return nodes_[node].longest;
}

}  // namespace hadal
