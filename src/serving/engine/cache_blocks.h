// CacheBlocks: which blocks of a latent cache hold which text. Whole blocks of known tokens stand in a tree (an edge is
// the tokens of a block), so that texts that begin alike share them; what no text holds stays there until its place is
// needed, longest unused first. A block that is shared is never written again: its tokens are complete.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <utility>
#include <vector>

namespace hadal {

class CacheBlocks {
 public:
  struct Node;
  // Those of one text, in the order of its tokens: first shared ones, then its own.
  struct Held {
    std::vector<int32_t> blocks;
    std::vector<Node*> shared;
  };

  // share: whether texts share blocks at all.
  CacheBlocks(int64_t n_blocks, int64_t block_tokens, bool share);
  ~CacheBlocks();
  CacheBlocks(const CacheBlocks&) = delete;
  CacheBlocks& operator=(const CacheBlocks&) = delete;

  int64_t n_blocks() const { return n_blocks_; }
  int64_t n_available() const { return int64_t(free_.size()) + n_unheld_; }  // free, or kept for texts that may come
  int64_t n_evicted() const { return n_evicted_; }                           // so far
  int64_t n_used() const { return n_blocks_ - int64_t(free_.size()); }

  // Gives an empty `held` the longest run of whole blocks that hold exactly these tokens, at most all but the last
  // token. Returns how many tokens that are.
  int64_t adopt(Held& held, std::span<const int32_t> tokens);
  // So many more blocks, from those free, then from those longest unused. False, and nothing changes, if there are
  // fewer.
  bool grow(Held& held, int64_t n);
  // Whole blocks of these tokens, all of which have been computed, become shared. Where another text was faster, `held`
  // takes over its blocks.
  void share(Held& held, std::span<const int32_t> tokens);
  void release(Held& held);

 private:
  void hold(Node& node);
  void let_go(Node& node);
  int32_t take_longest_unused();

  int64_t n_blocks_, block_tokens_;
  bool share_;
  std::vector<int32_t> free_;
  std::unique_ptr<Node> root_;
  int64_t n_unheld_ = 0;  // nodes that no text holds
  int64_t n_evicted_ = 0;
  uint64_t clock_ = 0;                           // counts releases
  std::set<std::pair<uint64_t, Node*>> unused_;  // leaves that no text holds, by when they were let go
};

}  // namespace hadal
