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
  int64_t cache_blocks = 0;   // of the latent cache; 0: default_cache_blocks()
  int64_t max_running = 256;  // requests in one step
  int64_t step_tokens = 512;  // rows of one step: one of each text that is written, the others of prompts
  bool prefix_cache = true;   // prompts that begin alike share blocks
};
// As many blocks as four texts of all the model's positions take, at most what fits a quarter of the memory that is
// left where the model computes, at least one.
int64_t default_cache_blocks(const Exec& exec, const Transformer& model);
// As many as these bytes hold. Throws invalid, naming the least that do, where that is none.
int64_t cache_blocks_within(const Transformer& model, int64_t bytes);

struct EngineCounts {
  int64_t waiting = 0, running = 0;
  int64_t blocks = 0, blocks_used = 0;  // of the cache: all; held by requests or kept for prompts that begin alike
  int64_t requests = 0, prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0, preemptions = 0, evictions = 0;
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
