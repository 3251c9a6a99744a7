// The text form; the page is in explain_html.cpp.
#include "data/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/explain_parts.h"

namespace hadal::data {

namespace {

// One character per share of the sequence: a letter per passage (small: FIM), dots for padding.
std::string bar(const Sequence& sequence, int64_t length) {
  constexpr int64_t kWidth = 64;
  std::string text(size_t(kWidth), '.');
  for (int64_t column = 0; column < kWidth; ++column) {
    const int64_t token = column * length / kWidth;
    for (size_t p = 0; p < sequence.passages.size(); ++p) {
      const Passage& passage = sequence.passages[p];
      if (token >= passage.start && token < passage.start + passage.length)
        text[size_t(column)] = char((passage.fim ? 'a' : 'A') + p % 26);
    }
  }
  return text;
}

}  // namespace

std::string explain_text(const Batch& batch, const Shards& shards, const Tokenizer& tokenizer, const DataConfig& config,
                         const ExplainOptions& options) {
  std::string out = describe_batch(batch, config, options.step) + "\n" + describe_mask(batch) + "\n";
  const int64_t n = int64_t(batch.sequences.size());
  const int64_t shown = options.max_sequences > 0 ? std::min(n, options.max_sequences) : n;
  for (int64_t i = 0; i < shown; ++i) {
    const Sequence& sequence = batch.sequences[size_t(i)];
    out += fmt::format("\nsequence {} (number {} of the stream): {} tokens, {} padding\n  |{}|\n", i,
                       batch.first_sequence + i, sequence.tokens.size(), sequence.padding,
                       bar(sequence, config.sequence_length));
    for (size_t p = 0; p < sequence.passages.size(); ++p) {
      const Passage& passage = sequence.passages[p];
      const std::string positions = batch.masked ? fmt::format(", positions 0..{}, sees [{}, {})", passage.length - 1,
                                                               passage.start, passage.start + passage.length)
                                                 : "";
      out += fmt::format("  {} [{}, {}) {}{}\n", char((passage.fim ? 'a' : 'A') + p % 26), passage.start,
                         passage.start + passage.length, describe_passage(passage, shards), positions);
      for (const PassagePart& part : parts_of(sequence, passage, tokenizer)) {
        if (part.special) {
          out += fmt::format("      {:>9}\n", part.name);
        } else {
          out += fmt::format("      {:>9} {:5} tokens  \"{}\"\n", part.name, part.tokens,
                             excerpt(part.text, options.excerpt_bytes));
        }
      }
    }
  }
  if (shown < n) out += fmt::format("\n({} more sequences; --sequences 0 prints all)\n", n - shown);
  return out;
}

}  // namespace hadal::data
