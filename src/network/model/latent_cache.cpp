#include "model/latent_cache.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {
namespace {

void check_extension(const Extension& text, const LatentCache& cache, const ModelConfig& config) {
  const int64_t n = int64_t(text.tokens.size()), end = text.cached + n;
  check(n > 0 && text.cached >= 0, ErrorKind::invalid, "a text is extended by {} tokens behind {}; at least 1 behind 0",
        n, text.cached);
  check(end <= config.max_positions, ErrorKind::invalid,
        "a text of {} tokens does not fit 1 .. model.max_positions = {}", end, config.max_positions);
  check(text.wanted >= 0 && text.wanted <= n, ErrorKind::invalid, "logits of {} of {} new tokens are wanted",
        text.wanted, n);
  check(cache_blocks_of(end) <= int64_t(text.blocks.size()), ErrorKind::invalid,
        "{} tokens after {} do not fit {} blocks of {}", n, text.cached, text.blocks.size(), kCacheBlock);
  for (const int32_t block : text.blocks)
    check(block >= 0 && block < cache.n_blocks, ErrorKind::invalid, "block {} of a cache of {} blocks", block,
          cache.n_blocks);
  for (const int32_t token : text.tokens)
    check(token >= 0 && token < config.vocab_size, ErrorKind::invalid, "token {} is not below the vocabulary's {}",
          token, config.vocab_size);
}

DType rope_key_dtype(const CacheForm& form) { return form.format == CacheFormat::fp8 ? DType::bf16 : form.dtype; }

int64_t expanded_width(const ModelConfig& c) {
  if (!c.is_latent()) return c.key_value_heads() * 2 * c.whole_head_dim();
  return c.n_heads * (c.qk_nope_head_dim + c.v_head_dim);
}

}  // namespace

LatentCache make_cache(const Exec& exec, const ModelConfig& config, const CacheForm& form, int64_t n_blocks) {
  check(n_blocks > 0 && n_blocks <= INT32_MAX / kCacheBlock, ErrorKind::invalid,
        "a cache of {} blocks; it must have 1 .. {}", n_blocks, INT32_MAX / kCacheBlock);
  LatentCache cache;
  cache.n_blocks = n_blocks;
  const int64_t rows = n_blocks * kCacheBlock;
  for (int64_t layer = 0; layer < form.n_layers; ++layer) {
    LayerCache& entry = cache.layers.emplace_back();
    if (form.heads || !config.is_latent()) entry.kv = Tensor::empty(exec, form.dtype, {rows, expanded_width(config)});
    if (!config.is_latent()) continue;
    if (form.format == CacheFormat::fp8)
      entry.latent = Quantised::empty(exec, {rows, config.kv_lora_rank}, kRowTile, form.dtype, ScaleRule::power_of_two,
                                      DType::f32);
    else
      entry.latent = Tensor::empty(exec, form.dtype, {rows, config.kv_lora_rank});
    entry.rope_key = Tensor::empty(exec, rope_key_dtype(form), {rows, config.qk_rope_head_dim});
  }
  return cache;
}

int64_t cache_block_bytes(const ModelConfig& config, const CacheForm& form) {
  const int64_t each = dtype_bytes(form.dtype), rank = config.kv_lora_rank;
  if (!config.is_latent()) return form.n_layers * kCacheBlock * expanded_width(config) * each;
  const int64_t latent =
      form.format == CacheFormat::fp8 ? Quantised::bytes_of({kCacheBlock, rank}, kRowTile) : kCacheBlock * rank * each;
  const int64_t rope_key = kCacheBlock * config.qk_rope_head_dim * dtype_bytes(rope_key_dtype(form));
  return form.n_layers * (latent + rope_key + (form.heads ? kCacheBlock * expanded_width(config) * each : 0));
}

ExtensionRows rows_of(std::span<const Extension> texts, const LatentCache& cache, const ModelConfig& config) {
  ExtensionRows rows;
  for (const Extension& text : texts) {
    check_extension(text, cache, config);
    const int64_t first = rows.batch.n_tokens(), n = int64_t(text.tokens.size());
    for (int64_t i = 0; i < n; ++i) {
      const int64_t position = text.cached + i;
      rows.batch.tokens.push_back(text.tokens[size_t(i)]);
      rows.batch.positions.push_back(int32_t(position));
      rows.cache_rows.push_back(text.blocks[size_t(position / kCacheBlock)] * int32_t(kCacheBlock) +
                                int32_t(position % kCacheBlock));
      if (i >= n - text.wanted) rows.wanted.push_back(int32_t(first + i));
    }
    rows.batch.segments.push_back({first, n, int64_t(rows.blocks.size()), text.cached + n});
    const auto used = text.blocks.first(size_t(cache_blocks_of(text.cached + n)));
    rows.blocks.insert(rows.blocks.end(), used.begin(), used.end());
    rows.n_positions = std::max(rows.n_positions, text.cached + n);
  }
  rows.batch.targets.assign(rows.batch.tokens.size(), -1);
  return rows;
}

}  // namespace hadal
