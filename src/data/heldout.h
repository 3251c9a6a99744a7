// Held-out text for validation, always the same, in fixed order (sources, then documents).
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "data/shards.h"
#include "text/tokenizer.h"

namespace hadal::data {

// tokens = start token (BOS with data.add_bos, else EOS, which stands before a document in training), the text, EOS.
// Of a dialogue: its sample, of which the trained tokens are scored, and raw_bytes are those of their text; never cut,
// and left out where it is longer than a sequence.
// All but the first are scored: bits per byte = sum of -log2 p(tokens[1..]) / raw_bytes.
struct HeldOutDocument {
  std::vector<int32_t> tokens;
  int64_t raw_bytes = 0;
  int64_t source = 0, document = 0;
  std::vector<uint8_t> trained = {};  // of a dialogue: which tokens are scored; empty: all but the first
  bool is_scored(int64_t token) const { return trained.empty() || trained[size_t(token)]; }
};
// max_bytes (0 = all) is divided over the sources in proportion to their held-out text. Of each source come whole
// documents until its part is used up; the last one may be longer: then it is cut at a token that ends a character,
// raw_bytes counts what is left, and no EOS follows.
std::vector<HeldOutDocument> heldout_documents(const Shards& shards, const Tokenizer& tokenizer,
                                               const DataConfig& config, int64_t max_bytes = 0);

// The beginning of a text whose tokens have these bytes: as many tokens as it takes to reach max_bytes, of which the
// last one that ends a character (one at least); a token may be empty, as a merge of nothing in a foreign vocabulary.
struct TextCut {
  int64_t tokens = 0, bytes = 0;
};
TextCut cut_at_character(std::span<const std::string_view> tokens, int64_t max_bytes);

// A window over a document's tokens: inputs [begin, end), of which the predictions of tokens [scored, end] count, i.e.
// rows scored-1-begin .. end-1-begin. Every token but the first of a document is scored in exactly one window.
struct ScoringWindow {
  int64_t document = 0;        // index in the list
  int64_t begin = 0, end = 0;  // inputs; end - begin <= sequence_length; the target of the last input is tokens[end]
  int64_t scored = 1;          // first token that is scored here
};
// stride: tokens by which windows move on, 1..sequence_length; 0 = half a sequence.
std::vector<ScoringWindow> scoring_windows(const std::vector<HeldOutDocument>& documents, int64_t sequence_length,
                                           int64_t stride);

}  // namespace hadal::data
