// Engine: many requests for tokens served at once by one model. Ids in, ids out: it knows no text. Requests share each
// step's forward (continuous batching), their latents lie in blocks of a paged cache, and prompts that begin alike
// share blocks. Whatever else runs, a request's ids and log-probabilities are those that it gets alone, to the bit.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/request.h"
#include "model/transformer.h"

namespace hadal {

struct EngineOptions {
  // Of the latent cache: blocks; 0: bytes; 0: as many as four texts of all positions take, at most a quarter of the
  // memory that is left. Throws invalid for bytes that hold no block.
  int64_t cache_blocks = 0, cache_bytes = 0;
  int64_t max_running = 256;  // requests in one step
  int64_t step_tokens = 512;  // rows of one step: one of each text that is written, the others of prompts
  bool prefix_cache = true;   // prompts that begin alike share blocks
  // Tokens that the model's MTP module guesses ahead of each text: 0, 1, or kAutomatic: 1 where that is faster by what
  // it costs and how many were right.
  static constexpr int64_t kAutomatic = -1;
  int64_t drafts = 0;
};
struct EngineCounts {
  int64_t waiting = 0, running = 0;
  int64_t blocks = 0, blocks_used = 0;  // of the cache: all; held by requests or kept for prompts that begin alike
  int64_t requests = 0, prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0, preemptions = 0, evictions = 0;
  int64_t drafted_tokens = 0, accepted_tokens = 0;
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

  int64_t longest_text() const;    // tokens of prompt and text together that a request may have
  bool step();                     // one forward of what is there; false: there was nothing
  void run(std::stop_token stop);  // steps until told to stop, and sleeps where there is nothing; then ends the rest

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal
