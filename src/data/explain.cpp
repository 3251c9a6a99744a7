// The text form; the page is in explain_html.cpp.
#include "data/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/explain_parts.h"

namespace hadal::data {

namespace {

// One character per share of the sequence: a letter per piece (small: FIM), dots for padding.
std::string bar(const Sequence& sequence, int64_t length) {
  constexpr int64_t kWidth = 64;
  std::string text(size_t(kWidth), '.');
  for (int64_t column = 0; column < kWidth; ++column) {
    const int64_t token = column * length / kWidth;
    for (size_t p = 0; p < sequence.pieces.size(); ++p) {
      const Piece& piece = sequence.pieces[p];
      if (token >= piece.start && token < piece.start + piece.length)
        text[size_t(column)] = char((piece.fim ? 'a' : 'A') + p % 26);
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
    for (size_t p = 0; p < sequence.pieces.size(); ++p) {
      const Piece& piece = sequence.pieces[p];
      const std::string positions = batch.masked ? fmt::format(", positions 0..{}, sees [{}, {})", piece.length - 1,
                                                               piece.start, piece.start + piece.length)
                                                 : "";
      out += fmt::format("  {} [{}, {}) {}{}\n", char((piece.fim ? 'a' : 'A') + p % 26), piece.start,
                         piece.start + piece.length, describe_piece(piece, shards), positions);
      for (const Part& part : parts_of(sequence, piece, tokenizer)) {
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
