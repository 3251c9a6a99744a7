// What the two forms of `hadal data explain` share.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/explain.h"

namespace hadal::data {

// A stretch of a piece: "text", "prefix", "middle", ... or one special token.
struct Part {
  std::string name;
  int64_t start = 0, tokens = 0;  // in the sequence
  bool special = false;
  std::string text;  // its bytes
};
std::vector<Part> parts_of(const Sequence& sequence, const Piece& piece, const Tokenizer& tokenizer);

std::string excerpt(std::string_view text, int64_t bytes);  // visible, with the middle left out when long
std::string describe_piece(const Piece& piece, const Shards& shards);
std::string describe_batch(const Batch& batch, const DataConfig& config, int64_t step);
std::string describe_mask(const Batch& batch);

}  // namespace hadal::data
