#include "dialogue/sample.h"

#include <algorithm>

#include "dialogue/text_model.h"

namespace hadal {

std::function<std::string(const Exec&, const Transformer&, const Tokenizer&, const std::string&, int64_t, uint64_t)>
sampler_of(bool bos) {
  return [bos](const Exec& exec, const Transformer& model, const Tokenizer& tokenizer, const std::string& prompt,
               int64_t tokens, uint64_t seed) {
    EngineRequest request;
    request.sampling.temperature = 0.8;
    request.sampling.top_p = 0.95;
    request.sampling.seed = seed;
    request.prompt = {start_token(tokenizer, bos)};
    tokenizer.encode_to(prompt, SpecialTokens::as_text, request.prompt);
    request.max_tokens = std::min(tokens, model.config().max_positions - int64_t(request.prompt.size()));
    if (request.max_tokens <= 0) return std::string();
    Engine engine = engine_for(exec, model, request);
    return generate_text(engine, tokenizer, std::move(request)).text;
  };
}

}  // namespace hadal
