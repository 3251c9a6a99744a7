// What a batch is made of, for people: `hadal data explain`.
#pragma once
#include <cstdint>
#include <string>

#include "config/config.h"
#include "data/batch.h"
#include "data/shards.h"
#include "text/tokenizer.h"

namespace hadal::data {

struct ExplainOptions {
  int64_t step = 0;
  int64_t max_sequences = 8;   // of the text form; 0 = all
  int64_t excerpt_bytes = 48;  // of each end of a passage
  bool tokens = false;         // of the text form: a line for each token, with segment, position and targets
  bool colour = false;         // of the text form, for terminals: what of a dialogue is trained
  int64_t n_mtp = 0;           // MTP depths whose targets are shown
};

std::string explain_text(const Batch& batch, const Shards& shards, const Tokenizer& tokenizer, const DataConfig& config,
                         const ExplainOptions& options);
// One self-contained page, light and dark.
std::string explain_html(const Batch& batch, const Shards& shards, const Tokenizer& tokenizer, const DataConfig& config,
                         const ExplainOptions& options);

}  // namespace hadal::data
