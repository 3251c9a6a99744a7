// LatentCache: what texts under way keep of their tokens (§1.3), of Llama's attention keys and values, in blocks of
// kCacheBlock tokens. A block is a range of rows in every layer; which blocks hold which text, in what order, is the
// caller's table (Extension), so that texts that begin alike may share theirs. A block is a tile of attention: its keys
// are summed up in the same order wherever it lies.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "config/model_config.h"
#include "model/pass.h"
#include "ops/attention.h"

namespace hadal {

inline constexpr int64_t kCacheBlock = ops::kKeyBlock;
inline int64_t cache_blocks_of(int64_t n_tokens) { return (n_tokens + kCacheBlock - 1) / kCacheBlock; }

struct LatentCache {
  std::vector<LayerCache> layers;  // of the model; then of its MTP modules, where these are used
  int64_t n_blocks = 0;
};

// The next tokens of one text.
struct Extension {
  std::span<const int32_t> tokens;  // at least one
  int64_t cached = 0;               // tokens of the text before them, which lie in the cache
  std::span<const int32_t> blocks;  // token i lies in row i % kCacheBlock of blocks[i / kCacheBlock]
  int64_t wanted = 1;               // of how many of the last tokens logits are wanted
};

// How a cache keeps a token: in which type, and with the keys and values of all heads (up-projected form of the latent
// attention) or without.
// In FP8 (of the absorbed form, §1.3) a token takes rank + 4 ceil(rank / 128) + 2 rope bytes a layer, 656 of V3: codes,
// an F32 scale for each 128 of them, the rope key in BF16.
struct CacheForm {
  DType dtype = DType::f32;
  bool heads = false;
  int64_t n_layers = 0;  // those of the model, then of its MTP modules, so many of them
  CacheFormat format = CacheFormat::values;
};
LatentCache make_cache(const Exec& exec, const ModelConfig& config, const CacheForm& form, int64_t n_blocks);
int64_t cache_block_bytes(const ModelConfig& config, const CacheForm& form);

// The rows of texts that are extended together. Throws invalid, naming the value, for what cannot be run.
struct ExtensionRows {
  MicroBatch batch;                                 // segments' keys begin at entries of `blocks`
  std::vector<int32_t> cache_rows, blocks, wanted;  // Rows::cache_rows, ::cache_blocks; Flight::wanted
  int64_t n_positions = 0;                          // of the longest text
};
ExtensionRows rows_of(std::span<const Extension> texts, const LatentCache& cache, const ModelConfig& config);

}  // namespace hadal
