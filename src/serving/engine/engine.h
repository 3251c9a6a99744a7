// Engine: many requests for tokens served at once by one model. Ids in, ids out: it knows no text. Requests share each
// step's forward (continuous batching), their latents lie in blocks of a paged cache, and prompts that begin alike share
// blocks. Whatever else runs, a request's ids and log-probabilities are those that it gets alone, to the bit.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "model/transformer.h"

namespace hadal {

struct TokenScore {
  int32_t id = 0;
  double log_prob = 0;  // natural, of the model itself: before temperature, penalties and filters
};

struct ScoredToken {
  int32_t id = 0;
  double log_prob = 0;
  std::vector<TokenScore> top;  // the most likely ids, best first, as many as were asked for
};

enum class EndReason { stop, length, cancelled, failed };  // stop: an id of `stop`; cancelled: cancel(), or on_token

struct EngineResult {
  EndReason reason = EndReason::length;
  std::string error;                // failed: why, in one sentence
  std::vector<ScoredToken> prompt;  // with prompt_log_probs; of the first token, which nothing predicts, log_prob 0
  int64_t n_generated = 0;
  int64_t n_cached = 0;  // tokens of the prompt whose latents were there already
};

struct EngineRequest {
  std::vector<int32_t> prompt;  // at least one id
  int64_t max_tokens = 128;     // 0: only the prompt is read
  int64_t min_tokens = 0;       // before so many no id of `stop` is drawn
  std::vector<int32_t> stop;    // ids that end the text; the id itself is handed out last
  int64_t allowed_ids = 0;      // ids below this are drawn; 0 = the whole vocabulary
  SamplingOptions sampling;
  int64_t n_top = 0;              // ScoredToken::top, of the text and of the prompt
  bool prompt_log_probs = false;
  // Both are called on the thread that steps; what they do is short. on_token: with every new id, false ends the
  // request. on_end: once, last.
  std::function<bool(const ScoredToken&)> on_token;
  std::function<void(const EngineResult&)> on_end;
};

struct EngineOptions {
  int64_t cache_bytes = 0;     // of the latent cache; 0: what one text of all positions takes, or more (engine.cpp)
  int64_t max_running = 256;   // requests in one step
  int64_t step_tokens = 512;   // rows of one step, prompts' and texts' together
  bool prefix_cache = true;
};

struct EngineCounts {
  int64_t waiting = 0, running = 0;
  int64_t blocks = 0, blocks_used = 0;  // of the cache: all; held by requests or kept for prompts that begin alike
  int64_t requests = 0, prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0, preemptions = 0;  // since the start
};

class Engine {
 public:
  Engine(const Exec& exec, const Transformer& model, const EngineOptions& options = {});
  ~Engine();

  // Throws invalid, naming the value, for a request that can never run. May be called from any thread, as cancel() and
  // counts().
  uint64_t submit(EngineRequest request);
  void cancel(uint64_t id);  // on_end comes with the next step; nothing happens where it has come
  EngineCounts counts() const;

  bool step();                     // one forward of what is there; false: there was nothing
  void run(std::stop_token stop);  // steps until told to stop, and sleeps where there is nothing; then cancels the rest

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal
