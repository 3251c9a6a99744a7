// What a caller asks the engine for, and what it gets.
#pragma once
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/constraint.h"
#include "engine/sampler.h"
#include "engine/token_scores.h"

namespace hadal {

// stop: an id of `stop`, or all that the constraint allows was written; cancelled: cancel(), or on_token
enum class EndReason { stop, length, cancelled, failed };

struct EngineResult {
  EndReason reason = EndReason::length;
  std::string error;  // failed: why, in one sentence
  ErrorKind error_kind = ErrorKind::failed;
  std::vector<ScoredToken> prompt;  // with prompt_log_probs; of the first token, which nothing predicts, log_prob 0
  int64_t n_generated = 0;
  int64_t n_cached = 0;         // tokens of the prompt whose latents were there already
  int64_t weights_version = 0;  // by which all of it was computed (Engine::swap_weights)
  void failed(const std::exception& why) {
    const auto* known = dynamic_cast<const Error*>(&why);
    error = why.what(), error_kind = known ? known->kind() : ErrorKind::internal;
  }
};

struct EngineRequest {
  std::vector<int32_t> prompt;  // at least one id
  int64_t max_tokens = 128;     // 0: only the prompt is read
  int64_t min_tokens = 0;       // before so many no id of `stop` is drawn
  std::vector<int32_t> stop;    // ids that end the text; the id itself is handed out last
  int64_t allowed_ids = 0;      // ids below this are drawn; 0 = the whole vocabulary
  SamplingOptions sampling;
  // What the text may become; null: anything. An id of `stop` is drawn where it may end, and where it can only end it
  // ends without one, whatever min_tokens says.
  std::shared_ptr<const Constraint> constraint;
  int64_t n_top = 0;  // ScoredToken::top, of the text and of the prompt
  bool prompt_log_probs = false;
  // The first token of the prompt whose log-probability is asked for: those before it may come from the cache, and
  // EngineResult::prompt begins with it. 1: all, behind the first token, which nothing predicts and has log_prob 0.
  int64_t scored_from = 1;
  // Nothing is drawn, and the prompt's last token has no row: nothing is predicted behind it. So such a prompt may have
  // one token more than the model has positions.
  bool only_scores() const { return max_tokens == 0 && prompt_log_probs && prompt.size() > 1; }
  int64_t n_rows() const { return int64_t(prompt.size()) + max_tokens - (only_scores() ? 1 : 0); }
  // Both are called on the thread that steps; what they do is short. on_token: with every new id, false ends the
  // request, as what it throws does. on_end: once, last.
  std::function<bool(const ScoredToken&)> on_token;
  std::function<void(const EngineResult&)> on_end;
  // With prompt_log_probs, before the first token: those of the prompt, as the result will have them.
  std::function<void(const std::vector<ScoredToken>&)> on_prompt;
  std::function<void()> on_restart;  // all that came is void, it begins anew (SwapWeights::restart)
};

}  // namespace hadal
