// A request under way: what it was asked for, what it has, and what it does in a step of the engine.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/cache_blocks.h"
#include "engine/followed_text.h"
#include "engine/request.h"
#include "model/latent_cache.h"
#include "tensor/tensor.h"

namespace hadal {

struct ActiveRequest {
  uint64_t id = 0;
  EngineRequest asked;
  std::vector<int32_t> tokens;  // prompt and text so far; where only scores are asked for without the last: no row
  int64_t cached = 0;           // of these, in the cache
  int64_t scored = 1;           // of the prompt, where its log-probabilities are asked for
  int64_t n_given = 0;          // of the text, handed out
  CacheBlocks::Held held;

  // Where MTP modules guess ahead (drafts.h).
  bool drafting = false;
  std::vector<int32_t> drafts;  // what they think comes next
  int64_t n_guessed = 0;        // of the tokens, at their end: drafts, as if they were drawn
  int64_t settled = 0;          // rows that the modules do not write again
  Tensor states;                // of the model, of the rows behind these that are cached

  Helpers* helpers = nullptr;
  std::unique_ptr<FollowedText> constrained;  // where the text stands in its constraint, if it has one
  bool held_up = false;                       // until that has found out what may come next: no row that draws
  EngineResult result;

  int64_t n_prompt() const { return int64_t(asked.prompt.size()); }
  int64_t n_tokens() const { return int64_t(tokens.size()); }
  int64_t n_left() const { return n_tokens() - cached; }
  bool writes() const { return draws() && n_left() == 1; }  // with its next row
  int64_t n_to_come() const { return asked.max_tokens - n_given; }
  // Tokens that may come from the cache (all but the last of them): behind those, rows are asked for.
  int64_t n_adoptable() const { return asked.prompt_log_probs && scored < n_prompt() ? scored : n_tokens(); }
  bool began() const { return n_given > 0 || cached > 0 || scored > asked.scored_from; }
  bool draws() const { return asked.max_tokens > 0; }
  int64_t n_readable() const { return n_left() - (draws() && held_up ? 1 : 0); }
  bool stops_at(int32_t id) const { return std::find(asked.stop.begin(), asked.stop.end(), id) != asked.stop.end(); }
  // Its constraint has found out what may come next. An end: nothing may. Throws what following it threw.
  std::optional<EndReason> let_go_on() {
    held_up = false;
    try {
      if (constrained->complete() && n_given > 0) return EndReason::stop;
    } catch (const Error& error) {
      fail(error.kind(), "at position {}: {}", n_tokens() - 1, error.what());
    }
    if (draws() && n_given == asked.max_tokens) return EndReason::length;
    return {};
  }
  // False: the caller wants no more.
  bool hand_out(const ScoredToken& token) {
    if (n_given++ == 0 && asked.on_prompt) asked.on_prompt(result.prompt);
    return !asked.on_token || asked.on_token(token);
  }

  // Blocks that it lacks for n more tokens in the cache.
  int64_t blocks_to_add(int64_t n) const { return cache_blocks_of(cached + n) - int64_t(held.blocks.size()); }

  // It has nothing in the cache any more.
  void leave_cache() {
    cached = 0;
    drafts.clear(), states.reset();
  }

  // To its prompt, at first or anew. It holds no blocks.
  void begin() {
    tokens = asked.prompt;
    if (asked.only_scores()) tokens.pop_back();
    scored = asked.scored_from, n_given = 0;
    leave_cache();
    result = {};
    if (asked.constraint) constrained = std::make_unique<FollowedText>(*helpers, asked.constraint->begin());
    held_up = constrained != nullptr;
    if (asked.prompt_log_probs && scored == 1) result.prompt.push_back({asked.prompt.front(), 0, {}});
  }
};
using ActiveRequestPtr = std::unique_ptr<ActiveRequest>;

// Guesses stand at the end of requests' tokens while it lives.
class Guesses {
 public:
  Guesses() = default;
  ~Guesses() {
    for (ActiveRequest* request : requests_) {
      request->tokens.resize(request->tokens.size() - size_t(request->n_guessed));
      request->n_guessed = 0;
    }
  }
  Guesses(const Guesses&) = delete;
  void add(ActiveRequest& request, int32_t id) {
    if (request.n_guessed == 0) requests_.push_back(&request);
    request.tokens.push_back(id), ++request.n_guessed;
  }

 private:
  std::vector<ActiveRequest*> requests_;
};

// What one request does in a step: its next n tokens enter the cache, and behind them drafts as if they were
// drawn already; logits of the last n_wanted of all these rows are made.
struct PlannedRows {
  ActiveRequest* request = nullptr;
  int64_t n = 0, n_drafts = 0, n_wanted = 0;
  bool draws = false;
  int64_t n_accepted = 0;  // drafts that were drawn indeed
  int64_t n_rows() const { return n + n_drafts; }
};

}  // namespace hadal
