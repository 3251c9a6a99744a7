#include "engine/cache_blocks.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {

struct CacheBlocks::Node {
  int32_t block = -1;
  Node* parent = nullptr;
  std::map<std::vector<int32_t>, std::unique_ptr<Node>> children;  // by the tokens of their block
  const std::vector<int32_t>* edge = nullptr;                      // its key among the parent's
  int64_t holders = 0;                                             // texts; whoever holds a node holds its parents
  uint64_t let_go = 0;
};

CacheBlocks::CacheBlocks(int64_t n_blocks, int64_t block_tokens, bool share)
    : n_blocks_(n_blocks), block_tokens_(block_tokens), share_(share), root_(std::make_unique<Node>()) {
  for (int64_t block = n_blocks; block-- > 0;) free_.push_back(int32_t(block));
}

CacheBlocks::~CacheBlocks() = default;

void CacheBlocks::hold(Node& node) {
  if (node.holders++ > 0) return;
  --n_unheld_;
  if (node.children.empty()) unused_.erase({node.let_go, &node});
}

void CacheBlocks::let_go(Node& node) {
  if (--node.holders > 0) return;
  ++n_unheld_;
  node.let_go = clock_;
  if (node.children.empty()) unused_.insert({node.let_go, &node});
}

int64_t CacheBlocks::adopt(Held& held, std::span<const int32_t> tokens) {
  check(held.blocks.empty(), ErrorKind::internal, "a text that holds {} blocks adopts others", held.blocks.size());
  if (!share_ || tokens.empty()) return 0;
  Node* node = root_.get();
  const int64_t most = (int64_t(tokens.size()) - 1) / block_tokens_;
  for (int64_t i = 0; i < most; ++i) {
    const auto edge = tokens.subspan(size_t(i * block_tokens_), size_t(block_tokens_));
    const auto found = node->children.find(std::vector<int32_t>(edge.begin(), edge.end()));
    if (found == node->children.end()) break;
    node = found->second.get();
    hold(*node);
    held.shared.push_back(node), held.blocks.push_back(node->block);
  }
  return int64_t(held.blocks.size()) * block_tokens_;
}

int32_t CacheBlocks::take_longest_unused() {
  Node* node = unused_.begin()->second;
  unused_.erase(unused_.begin());
  --n_unheld_, ++n_evicted_;
  const int32_t block = node->block;
  Node* parent = node->parent;
  parent->children.erase(parent->children.find(*node->edge));
  if (parent != root_.get() && parent->holders == 0 && parent->children.empty())
    unused_.insert({parent->let_go, parent});
  return block;
}

bool CacheBlocks::grow(Held& held, int64_t n) {
  if (n > n_available()) return false;
  for (; n > 0; --n) {
    if (free_.empty()) free_.push_back(take_longest_unused());
    held.blocks.push_back(free_.back());
    free_.pop_back();
  }
  return true;
}

void CacheBlocks::share(Held& held, std::span<const int32_t> tokens) {
  if (!share_) return;
  for (int64_t i = int64_t(held.shared.size()); (i + 1) * block_tokens_ <= int64_t(tokens.size()); ++i) {
    Node* parent = i > 0 ? held.shared.back() : root_.get();
    const auto edge = tokens.subspan(size_t(i * block_tokens_), size_t(block_tokens_));
    auto [place, is_new] = parent->children.try_emplace(std::vector<int32_t>(edge.begin(), edge.end()));
    int32_t& own = held.blocks[size_t(i)];
    if (is_new) {
      place->second = std::make_unique<Node>();
      place->second->block = own, place->second->parent = parent, place->second->edge = &place->first;
      ++n_unheld_;  // until it is held, on the next lines
      unused_.insert({0, place->second.get()});
    } else {
      free_.push_back(own);
      own = place->second->block;
    }
    hold(*place->second);
    held.shared.push_back(place->second.get());
  }
}

void CacheBlocks::release(Held& held) {
  ++clock_;
  for (size_t i = held.shared.size(); i < held.blocks.size(); ++i) free_.push_back(held.blocks[i]);
  for (size_t i = held.shared.size(); i-- > 0;) let_go(*held.shared[i]);
  held = Held();
}

}  // namespace hadal
