// Samples and --fresh.
#include "apps/sample.h"

#include <algorithm>

#include "apps/text_model.h"
#include "base/error.h"
#include "base/files.h"

namespace hadal {

namespace fs = std::filesystem;

std::string training_sample(Transformer& model, const Tokenizer& tokenizer, const std::string& prompt, int64_t tokens, uint64_t seed) {
  SamplingOptions sampling;
  sampling.temperature = 0.8;
  sampling.top_p = 0.95;
  sampling.seed = seed;
  std::vector<int32_t> ids{start_token(tokenizer, false)};
  tokenizer.encode_to(prompt, SpecialTokens::as_text, ids);
  tokens = std::min(tokens, model.config().max_positions - int64_t(ids.size()));
  return tokens > 0 ? generate_text(model, tokenizer, ids, tokens, sampling) : "";
}

void remove_run(const fs::path& run) {
  if (!fs::exists(run)) return;
  check(fs::is_directory(run) && (fs::exists(run / "config.toml") || fs::exists(run / "lock") || fs::is_empty(run)), ErrorKind::invalid,
        "{}: not a run directory (no config.toml in it); --fresh deletes only runs", run.string());
  const FileLock lock(run / "lock", "run directory");  // a trainer that is at work keeps its files
  for (const char* name : {"checkpoints", "data", "tokenizer", "text", "config.toml", "metrics.jsonl", "log.txt", "report.html"}) fs::remove_all(run / name);
}

}  // namespace hadal
