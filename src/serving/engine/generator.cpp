#include "engine/generator.h"

#include <optional>
#include <utility>

#include "arch/arch.h"
#include "base/error.h"
#include "base/system_info.h"
#include "engine/engine_room.h"
#include "model/latent_cache.h"

namespace hadal {

bool pack_for(const Exec& exec, Transformer& model, int64_t n_tokens, int64_t n_mtp, int64_t room) {
  if (exec.device.kind != DeviceKind::cpu) return false;  // panels are for vector kernels
  // After so many readings of all weights what packing took is saved (measured, docs/benchmarks.md).
  constexpr int64_t kReadingsToPack = 16;
  const ParameterCounts counts = count_parameters(model.config());
  const int64_t embedding = counts.activated - counts.activated_no_embedding;
  if (n_tokens * counts.activated_no_embedding < kReadingsToPack * (counts.total - embedding)) return false;
  const int64_t bytes = model.packed_bytes(exec, n_mtp);
  if (bytes == 0 || bytes > room || uint64_t(bytes) > memory_info().available / 2) return false;
  model.pack(exec, n_mtp);
  return true;
}

Engine engine_for(const Exec& exec, const Transformer& model, const EngineRequest& request, int64_t drafts) {
  check_prompt(request.prompt, request.max_tokens, model.config());
  const int64_t length = int64_t(request.prompt.size()) + request.max_tokens;
  return Engine(exec, model,
                {.cache_blocks = cache_blocks_of(length), .max_running = 1, .prefix_cache = false, .drafts = drafts});
}

GenerateResult generate(Engine& engine, EngineRequest request) {
  GenerateResult result;
  std::optional<EngineResult> end;
  request.on_token = [&result, call = std::move(request.on_token)](const ScoredToken& token) {
    result.tokens.push_back(token.id);
    return !call || call(token);
  };
  request.on_restart = [&result, call = std::move(request.on_restart)] {
    result.tokens.clear();
    if (call) call();
  };
  request.on_end = [&end, call = std::move(request.on_end)](const EngineResult& ended) {
    end = ended;
    if (call) call(ended);
  };
  engine.submit(std::move(request));
  while (!end && engine.step()) {
  }
  check(end.has_value(), ErrorKind::internal, "a request neither runs nor has ended");
  if (end->reason == EndReason::failed) throw Error(end->error_kind, end->error);
  result.stopped = end->reason == EndReason::stop;
  return result;
}

}  // namespace hadal
