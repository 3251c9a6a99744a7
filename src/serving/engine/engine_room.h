// What an engine has room for: the options that say so, blocks of its cache, and which requests can never run in it.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/draft_gain.h"
#include "engine/request.h"
#include "model/transformer.h"

namespace hadal {

// Whose token a row of a step is.
struct StepRow {
  uint64_t request = 0;  // as submit() named it
  int64_t position = 0;
};

struct EngineOptions {
  // Of the latent cache: blocks; 0: bytes; 0: as many as so many texts of all positions take, at most a quarter of the
  // memory that is left. Throws invalid for bytes that hold no block.
  int64_t cache_blocks = 0, cache_bytes = 0, cache_texts = 4;
  int64_t max_running = 256;  // requests in one step
  int64_t step_tokens = 512;  // rows of one step: one of each text that is written, the others of prompts
  bool prefix_cache = true;   // prompts that begin alike share blocks
  // Tokens that the model's MTP modules guess ahead of each text: 0 .. kMostDrafts, or kAutomatic: as many as are
  // fastest, by what they cost and how many were right (draft_gain.h).
  static constexpr int64_t kAutomatic = -1;
  int64_t drafts = 0;
  // Gets what every step computes on the way (Observer), with whose rows they are. For proofs: it is slow.
  std::function<void(const std::vector<StepRow>& rows, const std::string& name, const Tensor& value)> observer = {};
  // May put other drafts in place of a request's, the first of which is for this position. For proofs.
  std::function<void(uint64_t request, int64_t position, std::span<int32_t> drafts)> oracle = {};
};

// How many MTP modules guess, so that the cache keeps their latents too; 0: there are no drafts. Throws invalid for
// drafts out of range, or of a model without modules.
int64_t draft_modules(const Transformer& model, const EngineOptions& options);
// Blocks of the cache: as asked, else as many as cache_texts of all the model's positions take, at most what fits a
// quarter of the memory that is left where the model computes, at least one. Throws invalid for options that are none.
int64_t cache_blocks_for(const Exec& exec, const Transformer& model, const EngineOptions& options);
// Throws invalid, naming the value, for a prompt that is no text of this model, or leaves no room for so many tokens.
void check_prompt(std::span<const int32_t> prompt, int64_t max_tokens, const ModelConfig& config);
// Throws invalid, naming the value, for a request that can never run in a cache of so many blocks.
void check_request(const EngineRequest& request, const ModelConfig& config, int64_t n_blocks);

}  // namespace hadal
