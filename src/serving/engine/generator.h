// Generation for one text: an engine that serves nobody else, stepped until its request has ended. Knows ids, not text.
#pragma once
#include <cstdint>
#include <vector>

#include "engine/engine.h"

namespace hadal {

struct GenerateResult {
  std::vector<int32_t> tokens;  // the new ones
  bool stopped = false;         // by a stop id
};

// Packs the weights (Transformer::pack) where `n_tokens` repay it: packing reads and writes all of them once, and each
// token then reads its share of them faster. False, and nothing is done, where they do not, or memory is short.
// n_mtp: of the MTP modules those that draft (draft_modules). room: bytes that it may take.
bool pack_for(const Exec& exec, Transformer& model, int64_t n_tokens, int64_t n_mtp = 0, int64_t room = INT64_MAX);

// An engine with room for this request alone. drafts as in EngineOptions. Throws invalid for a prompt that the model
// cannot go on from, or one that leaves no room for max_tokens, naming the numbers.
Engine engine_for(const Exec& exec, const Transformer& model, const EngineRequest& request, int64_t drafts = 0);

// Steps the engine until the request has ended; its own callbacks are called too. Throws what ended it where it failed.
GenerateResult generate(Engine& engine, EngineRequest request);

}  // namespace hadal
