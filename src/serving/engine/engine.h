// Engine: many requests for tokens served at once by one model. Ids in, ids out: it knows no text. Requests share each
// step's forward (continuous batching), their latents lie in blocks of a paged cache, and prompts that begin alike
// share blocks. Whatever else runs, a request's ids and log-probabilities are those that it gets alone, to the bit.
#pragma once
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/draft_gain.h"
#include "engine/engine_room.h"
#include "engine/weight_swaps.h"
#include "model/transformer.h"

namespace hadal {

struct EngineCounts {
  int64_t waiting = 0, running = 0;
  int64_t blocks = 0;                        // of the cache
  int64_t blocks_used = 0, blocks_held = 0;  // held by requests or kept for prompts that begin alike; the former alone
  int64_t requests = 0, prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0, preemptions = 0, evictions = 0;
  DraftCounts drafts;
  int64_t weights_version = 0;                   // Engine::weights_version
  double step_seconds = 0, forward_seconds = 0;  // of all steps; of the model in them
  // Of weights that the model's forwards read in that time: all matrices, and of experts what even routing of a step's
  // rows touches. Those of MTP modules are not counted.
  double weight_bytes = 0;
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
  // `change` exchanges the model's weights, all of them or, where it throws, none. It runs between steps, on the thread
  // that steps; nothing is computed with old and new ones mixed, and no latent of the old ones is used again. The
  // future is ready when the new ones serve; it throws what `change` threw, or failed once run() has ended.
  std::future<void> swap_weights(std::function<void()> change, SwapWeights how);
  int64_t weights_version() const;  // counts exchanges

  int64_t longest_text() const;    // tokens of prompt and text together that a request may have
  bool step();                     // one forward of what is there; false: there was nothing
  void run(std::stop_token stop);  // steps until told to stop, and sleeps where there is nothing; then ends the rest

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal
