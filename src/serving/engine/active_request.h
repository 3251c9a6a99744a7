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
  int64_t n_given = 0;          // of the text, handed out
  bool drafting = false;        // an MTP module guesses ahead
  int32_t draft = -1;           // what it thinks comes next; negative: nothing
  CacheBlocks::Held held;
  std::unique_ptr<ConstrainedText> constrained;  // where the text stands in its constraint, if it has one
  EngineResult result;

  int64_t n_prompt() const { return int64_t(asked.prompt.size()); }
  int64_t n_tokens() const { return int64_t(tokens.size()); }
  int64_t n_left() const { return n_tokens() - cached; }
  bool draws() const { return asked.max_tokens > 0; }

  // To its prompt, at first or anew. It holds no blocks.
  void begin() {
    tokens = asked.prompt;
    cached = 0, scored = 1, n_given = 0, draft = -1;
    result = {};
    if (asked.constraint) constrained = asked.constraint->begin();
    if (asked.prompt_log_probs) result.prompt.push_back({asked.prompt.front(), 0, {}});
  }
};
using ActiveRequestPtr = std::unique_ptr<ActiveRequest>;

// What one request does in a step: its next n tokens enter the cache, and behind them the draft as if it were drawn
// already; logits of the last n_wanted of all these rows are made.
struct PlannedRows {
  ActiveRequest* request = nullptr;
  int64_t n = 0, n_drafts = 0, n_wanted = 0;
  bool draws = false;
  int64_t n_accepted = 0;  // drafts that were drawn indeed
  int64_t n_rows() const { return n + n_drafts; }
};

}  // namespace hadal
