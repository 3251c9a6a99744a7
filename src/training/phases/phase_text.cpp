#include "phases/phase_text.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "data/prepare.h"
#include "optim/curves.h"
#include "text/tokenizer.h"

namespace hadal {

namespace fs = std::filesystem;

namespace {

Config in_its_run(const PhasedConfig& plan, const Phase& phase) {
  Config config = phase.config;
  config.run = (fs::path(plan.base.run) / phase.name).string();
  return config;
}

// One pass over the sources; 0 where one of them is missing.
double tokens_of_text(const Config& config, bool& guessed) {
  double tokens = 0;
  try {
    for (const data::SourceCounts& counts : data::read_index(data::cache_directory(config) / "shards").counts)
      tokens += double(counts.training_tokens);
    return tokens;
  } catch (const Error&) {  // nothing is tokenised yet
    guessed = true;
  }
  try {
    for (const SourceConfig& source : config.data.sources)
      for (const std::string& pattern : source.paths)
        for (const fs::path& file : list_files(pattern)) tokens += double(fs::file_size(file)) / 4;
    return tokens;
  } catch (const std::exception&) {
    return 0;
  }
}

}  // namespace

std::string phase_tokenizer(const PhasedConfig& plan) {
  const Config first = in_its_run(plan, plan.phases.front());
  const fs::path kept = fs::path(first.run) / "tokenizer";
  if (fs::exists(kept)) return kept.string();
  return first.tokenizer.path.empty() ? (data::cache_directory(first) / "tokenizer").string() : first.tokenizer.path;
}

PhaseSize phase_size(const PhasedConfig& plan, const Phase& phase) {
  const Config config = in_its_run(plan, phase);
  const int64_t batch = config.train.batch_sequences * config.data.sequence_length;
  PhaseSize size{.steps = config.train.steps, .vocab_size = config.model.vocab_size};
  if (size.steps > 0) {
    size.tokens = double(total_sequences(config.train, 1, size.steps)) * double(config.data.sequence_length);
  } else {
    size.tokens = double(config.data.epochs) * tokens_of_text(config, size.tokens_guessed);
    size.steps = size.tokens > 0 ? std::max<int64_t>(1, std::llround(std::ceil(size.tokens / double(batch)))) : 1000;
  }
  if (size.vocab_size > 0) return size;
  const std::string tokenizer = phase_tokenizer(plan);
  const bool there = Tokenizer::is_in(tokenizer);
  size.vocab_size = there ? Tokenizer::load(tokenizer).vocab_size() : config.tokenizer.vocab_size;
  size.vocab_guessed = !there && !plan.phases.front().config.tokenizer.path.empty();
  return size;
}

}  // namespace hadal
