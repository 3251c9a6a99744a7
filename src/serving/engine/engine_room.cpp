#include "engine/engine_room.h"

#include <algorithm>

#include "base/error.h"
#include "base/open_device.h"
#include "base/text_format.h"
#include "model/latent_cache.h"

namespace hadal {

int64_t draft_modules(const Transformer& model, const EngineOptions& options) {
  const int64_t drafts = options.drafts, n_mtp = model.config().n_mtp;
  const bool automatic = drafts == EngineOptions::kAutomatic;
  check(automatic || (drafts >= 0 && drafts <= kMostDrafts), ErrorKind::invalid, "drafts = {} must lie in 0 .. {}",
        drafts, kMostDrafts);
  check(drafts <= 0 || n_mtp > 0, ErrorKind::invalid,
        "drafts = {}, but the model has no MTP module, which drafts are made by", drafts);
  return std::min(n_mtp, automatic ? kMostDrafts : drafts);
}

int64_t cache_blocks_for(const Exec& exec, const Transformer& model, const EngineOptions& options) {
  check(options.max_running > 0 && options.step_tokens > 0, ErrorKind::invalid,
        "an engine of {} requests at once and {} tokens a step; both must be at least 1", options.max_running,
        options.step_tokens);
  if (options.cache_blocks > 0) return options.cache_blocks;
  const int64_t block = model.cache_block_bytes(draft_modules(model, options));
  if (options.cache_bytes == 0) {
    const int64_t fitting = int64_t(available_memory(*exec.memory) / 4) / block;
    return std::max<int64_t>(1, std::min(options.cache_texts * cache_blocks_of(model.config().max_positions), fitting));
  }
  check(options.cache_bytes >= block, ErrorKind::invalid,
        "a cache of {} holds no block of {} tokens; the least that does is {}",
        format_bytes(double(options.cache_bytes)), kCacheBlock, format_bytes(double(block)));
  return options.cache_bytes / block;
}

namespace {

void check_ids(std::span<const int32_t> ids, const ModelConfig& config) {
  for (const int32_t id : ids)
    check(id >= 0 && id < config.vocab_size, ErrorKind::invalid, "token id {} must lie in 0 .. {}", id,
          config.vocab_size - 1);
}

}  // namespace

void check_prompt(std::span<const int32_t> prompt, int64_t max_tokens, const ModelConfig& config) {
  check(!prompt.empty(), ErrorKind::invalid, "the prompt is empty; give at least one token");
  check(max_tokens >= 0, ErrorKind::invalid, "max_tokens = {} must be at least 0", max_tokens);
  const int64_t n_prompt = int64_t(prompt.size()), room = config.max_positions - n_prompt;
  check(max_tokens <= room, ErrorKind::invalid,
        "{} prompt tokens and {} new ones make {}, more than the model's {} positions", n_prompt, max_tokens,
        n_prompt + std::min(max_tokens, INT64_MAX - n_prompt), config.max_positions);
  check_ids(prompt, config);
}

void check_request(const EngineRequest& r, const ModelConfig& config, int64_t n_blocks) {
  validate(r.sampling);
  const auto rows = std::span(r.prompt).first(r.prompt.size() - (r.only_scores() ? 1 : 0));
  check_prompt(rows, r.max_tokens, config);
  check_ids(r.prompt, config);
  check(r.min_tokens >= 0 && r.min_tokens <= r.max_tokens, ErrorKind::invalid,
        "min_tokens = {} must lie in 0 .. max_tokens = {}", r.min_tokens, r.max_tokens);
  check(r.n_top >= 0 && r.n_top <= config.vocab_size, ErrorKind::invalid,
        "{} of the most likely ids are asked for; it must be 0 .. {}", r.n_top, config.vocab_size);
  const int64_t n_prompt = int64_t(r.prompt.size());
  check(r.scored_from == 1 || (r.scored_from > 1 && r.scored_from < n_prompt), ErrorKind::invalid,
        "scored_from = {} must be 1, or lie in a prompt of {} tokens", r.scored_from, n_prompt);
  check(cache_blocks_of(r.n_rows()) <= n_blocks, ErrorKind::invalid,
        "{} prompt tokens and {} new ones make {}, more than the {} that the cache holds", n_prompt, r.max_tokens,
        n_prompt + r.max_tokens, n_blocks * kCacheBlock);
  check(r.allowed_ids >= 0, ErrorKind::invalid, "allowed_ids = {} must be at least 0", r.allowed_ids);
}

}  // namespace hadal
