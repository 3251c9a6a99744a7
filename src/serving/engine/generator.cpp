// Prefill once, then one token at a time.
#include "engine/generator.h"

#include <algorithm>
#include <numeric>

#include "arch/arch.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/system_info.h"
#include "engine/engine_room.h"
#include "model/latent_cache.h"

namespace hadal {

bool pack_for(const Exec& exec, Transformer& model, int64_t n_tokens) {
  if (exec.device.kind != DeviceKind::cpu) return false;  // panels are for vector kernels
  // After so many readings of all weights what packing took is saved (measured, docs/benchmarks.md).
  constexpr int64_t kReadingsToPack = 16;
  const ParameterCounts counts = count_parameters(model.config());
  const int64_t embedding = counts.activated - counts.activated_no_embedding;
  if (n_tokens * counts.activated_no_embedding < kReadingsToPack * (counts.total - embedding)) return false;
  const int64_t bytes = model.packed_bytes(exec);
  if (bytes == 0 || uint64_t(bytes) > memory_info().available / 2) return false;
  model.pack(exec);
  return true;
}

GenerateResult generate(const Exec& exec, const Transformer& model, const GenerateRequest& request) {
  const auto& config = model.config();
  validate(request.sampling);
  check_prompt(request.prompt, request.max_tokens, config);
  const int64_t length = int64_t(request.prompt.size()) + request.max_tokens;
  GenerateResult result;
  if (request.max_tokens == 0) return result;
  const double start = steady_seconds();
  const auto cache = model.new_cache(exec, cache_blocks_of(length));
  std::vector<int32_t> blocks(size_t(cache->n_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  int64_t cached = 0;
  const auto after = [&](std::span<const int32_t> tokens) {
    const Extension next{tokens, cached, blocks};
    const Tensor logits = host_copy(model.extend(exec, *cache, std::span(&next, 1)).to(exec, DType::f32));
    cached += int64_t(tokens.size());
    return std::vector<float>(logits.data<float>(), logits.data<float>() + logits.count());
  };
  std::vector<float> logits = after(request.prompt);
  result.prefill_seconds = steady_seconds() - start;
  const int64_t allowed =
      request.allowed_ids > 0 ? std::min(request.allowed_ids, config.vocab_size) : config.vocab_size;
  for (int64_t position = int64_t(request.prompt.size()); position < length; ++position) {
    penalise(logits, request.prompt, result.tokens, request.sampling);
    const int32_t id = sample_token(logits, allowed, request.sampling, position);
    result.tokens.push_back(id);
    result.stopped = std::find(request.stop.begin(), request.stop.end(), id) != request.stop.end();
    if ((request.on_token && !request.on_token(id)) || result.stopped || position + 1 == length) break;
    logits = after(std::span(&id, 1));
  }
  result.decode_seconds = steady_seconds() - start - result.prefill_seconds;
  return result;
}

}  // namespace hadal
