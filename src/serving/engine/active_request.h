// A request under way: what it was asked for, what it has, and what it does in a step of the engine.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/cache_blocks.h"
#include "engine/request.h"

namespace hadal {

struct ActiveRequest {
  uint64_t id = 0;
  EngineRequest asked;
  std::vector<int32_t> tokens;  // prompt and text so far
  int64_t cached = 0;           // of these, in the cache
  int64_t scored = 1;           // of the prompt, where its log-probabilities are asked for
  CacheBlocks::Held held;
  EngineResult result;

  int64_t n_prompt() const { return int64_t(asked.prompt.size()); }
  int64_t n_tokens() const { return int64_t(tokens.size()); }
  int64_t n_left() const { return n_tokens() - cached; }
  bool draws() const { return asked.max_tokens > 0; }
};
using ActiveRequestPtr = std::unique_ptr<ActiveRequest>;

// What one request does in a step: its next n tokens enter the cache, logits of the last n_wanted are made.
struct PlannedRows {
  ActiveRequest* request = nullptr;
  int64_t n = 0, n_wanted = 0;
  bool draws = false;
};

// A row of logits that is wanted: of the token at `position` of a request, before the one that it predicts.
struct WantedRow {
  ActiveRequest* request = nullptr;
  int64_t position = 0;
  bool draws = false;
  std::string error;  // of the draw
};

}  // namespace hadal
