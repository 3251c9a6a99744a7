#include "dialogue/sample.h"

#include <algorithm>

#include "dialogue/prompt.h"
#include "dialogue/text_model.h"
#include "text/encode_chat.h"

namespace hadal {

std::function<std::string(const Exec&, const Transformer&, const Tokenizer&, const std::string&, int64_t, uint64_t)>
sampler_of(bool bos, bool answers) {
  return [bos, answers](const Exec& exec, const Transformer& model, const Tokenizer& tokenizer,
                        const std::string& prompt, int64_t tokens, uint64_t seed) {
    EngineRequest request;
    request.sampling.temperature = 0.8;
    request.sampling.top_p = 0.95;
    request.sampling.seed = seed;
    if (answers && !prompt.empty()) {
      request.prompt = encode_chat(
          tokenizer, rendered_chat(chat_files_of(tokenizer.files(), "the run"), "the run", chat_of(prompt)));
    } else {
      request.prompt = {start_token(tokenizer, bos)};
      tokenizer.encode_to(prompt, SpecialTokens::as_text, request.prompt);
    }
    request.max_tokens = std::min(tokens, model.config().max_positions - int64_t(request.prompt.size()));
    if (request.max_tokens <= 0) return std::string();
    Engine engine = engine_for(exec, model, request);
    const std::string before = answers && !prompt.empty() ? "\n" : "";
    return before + generate_text(engine, tokenizer, std::move(request)).text;
  };
}

}  // namespace hadal
