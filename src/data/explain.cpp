// The text form; the page is in explain_html.cpp.
#include "data/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/table.h"
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

// Every token of a sequence: place, segment, position, itself, what the main model and the MTP modules predict there.
std::string token_table(const Batch& batch, const Sequence& sequence, const Tokenizer& tokenizer, int64_t n_mtp) {
  std::vector<std::string> head{"place", "segment", "position", "token", "target"};
  for (int64_t depth = 1; depth <= n_mtp; ++depth) head.push_back(fmt::format("MTP {}", depth));
  Table table(head);
  for (size_t p = 0; p < sequence.passages.size(); ++p) {
    const Passage& passage = sequence.passages[p];
    for (int64_t at = passage.start; at < passage.start + passage.length; ++at) {
      std::vector<std::string> row{std::to_string(at), std::to_string(batch.masked ? p : 0),
                                   std::to_string(batch.masked ? at - passage.start : at),
                                   "|" + token_text(tokenizer, sequence.tokens[size_t(at)]) + "|"};
      for (int64_t depth = 0; depth <= n_mtp; ++depth) {
        const int32_t target = target_of(batch, sequence, passage, at, depth);
        row.push_back(target < 0 ? "-" : "|" + token_text(tokenizer, target) + "|");
      }
      table.add(row);
    }
  }
  return table.text();
}

std::string part_line(const PassagePart& part, const ExplainOptions& options) {
  if (part.special) return fmt::format("      {:>9}\n", part.name);
  const bool coloured = options.colour && part.name == "trained";
  return fmt::format("      {:>9} {:5} tokens  {}\"{}\"{}\n", part.name, part.tokens, coloured ? "\033[32m" : "",
                     excerpt(part.text, options.excerpt_bytes), coloured ? "\033[0m" : "");
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
      out += fmt::format("  {} [{}, {}) {}{}{}\n", char((passage.fim ? 'a' : 'A') + p % 26), passage.start,
                         passage.start + passage.length, describe_passage(passage, shards),
                         batch.masked ? fmt::format(", segment {}", p) : "", positions);
      for (const PassagePart& part : parts_of(sequence, passage, tokenizer)) out += part_line(part, options);
    }
    if (options.tokens) out += token_table(batch, sequence, tokenizer, options.n_mtp);
  }
  if (shown < n) out += fmt::format("\n({} more sequences; --sequences 0 prints all)\n", n - shown);
  return out;
}

}  // namespace hadal::data
