// Byte-level BPE of one piece of text: starts from the bytes' tokens and joins, again and again, the neighbouring pair whose
// merge has the lowest rank (the leftmost of equals). Short pieces are scanned, long ones go through a heap; both give the
// same. Immutable and thread-safe; a thread's working memory and its cache of pieces are a BpeScratch.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hadal {

struct Merge {
  int32_t left = 0, right = 0, result = 0;
};

// Pieces met before, with their ids: direct-mapped, one cache line an entry.
class PieceCache {
 public:
  static constexpr size_t kMostBytes = 30, kMostIds = 8;
  PieceCache() : entries_(kEntries) {}
  // Appends the ids if the piece (1..kMostBytes bytes) is known.
  bool find(std::string_view piece, uint64_t hash, std::vector<int32_t>& ids) const;
  void keep(std::string_view piece, uint64_t hash, const int32_t* ids, size_t n_ids);

 private:
  static constexpr size_t kEntries = 1 << 15;
  struct alignas(64) Entry {
    uint8_t n_bytes = 0, n_ids = 0;
    char bytes[kMostBytes];
    int32_t ids[kMostIds];
  };
  static_assert(sizeof(Entry) == 64);
  std::vector<Entry> entries_;
};

struct BpeScratch {
  PieceCache cache;
  std::vector<int32_t> ids, next, previous;
  std::vector<uint32_t> ranks;
  std::vector<uint64_t> heap;
};

class BpeModel {
 public:
  static constexpr int64_t kMostTokens = 1 << 20, kMostMerges = (1 << 24) - 2;

  BpeModel() = default;
  // merges in order of rank; byte_ids[b] is the token of byte b.
  BpeModel(std::vector<Merge> merges, const std::array<int32_t, 256>& byte_ids);

  void encode(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;  // appends; uses the cache
  void encode_afresh(std::string_view piece, BpeScratch& scratch, std::vector<int32_t>& ids) const;
  const std::vector<Merge>& merges() const { return merges_; }
  // Pieces that are a token as they stand ("ignore_merges" of tokenizer.json); the map outlives the model.
  void set_whole_pieces(const std::unordered_map<std::string_view, int32_t>* pieces) { whole_pieces_ = pieces; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t rank(int32_t left, int32_t right) const;
  void insert(uint64_t key, uint32_t rank);
  void scan(BpeScratch& scratch, std::vector<int32_t>& ids) const;
  void heap(BpeScratch& scratch, std::vector<int32_t>& ids) const;

  std::vector<Merge> merges_;
  std::array<int32_t, 256> byte_ids_{};
  std::vector<uint32_t> byte_pair_ranks_;  // [256 * 256]: the first look-ups of every piece
  std::vector<uint64_t> table_;            // left 20 bits, right 20, rank 24; linear probing
  int shift_ = 0;
  const std::unordered_map<std::string_view, int32_t>* whole_pieces_ = nullptr;
};

uint64_t piece_hash(std::string_view piece);

}  // namespace hadal
