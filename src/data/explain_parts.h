// What the two forms of `hadal data explain` share.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "data/batch.h"
#include "data/shards.h"
#include "text/tokenizer.h"

namespace hadal::data {

// A part of a passage: "text", "prefix", "middle", ..., of a dialogue "context" and "trained", or one special token.
struct PassagePart {
  std::string name;
  int64_t start = 0, tokens = 0;  // in the sequence
  bool special = false;
  std::string text;  // its bytes
};
std::vector<PassagePart> parts_of(const Sequence& sequence, const Passage& passage, const Tokenizer& tokenizer);

// Whether a token of a dialogue's passage is trained: the target of the one before it.
bool is_trained(const Sequence& sequence, const Passage& passage, int64_t place);
// What a place predicts: depth 0 the main model, depth k the MTP module k, which sees the token k places ahead. -1:
// nothing.
int32_t target_of(const Batch& batch, const Sequence& sequence, const Passage& passage, int64_t place, int64_t depth);
// A token for people: its bytes, visible; "-" for -1.
std::string token_text(const Tokenizer& tokenizer, int32_t id);

// Bytes as one line of UTF-8: control characters and invalid bytes are written visibly.
std::string visible_text(std::string_view bytes);
std::string excerpt(std::string_view text, int64_t bytes);  // visible, with the middle left out when long
std::string describe_passage(const Passage& passage, const Shards& shards);
std::string describe_batch(const Batch& batch, const DataConfig& config, int64_t step);
std::string describe_mask(const Batch& batch);

}  // namespace hadal::data
