// tokenizer.json (Hugging Face), read and written:
//   {"version": "1.0", "truncation": null, "padding": null,
//    "added_tokens": [{"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}, ...],
//    "normalizer": null or an empty Sequence,
//    "pre_tokenizer": Split(Isolated, Regex or String) | Digits | ByteLevel(add_prefix_space false)
//                     | Sequence of these,
//    "post_processor": null | ByteLevel | TemplateProcessing (its "single" is kept) | Sequence of these,
//    "decoder": ByteLevel,
//    "model": {"type": "BPE", "ignore_merges": false, "vocab": {token: id}, "merges": ["left right" or [left, right]]}}
// Tokens and merges are spelt in the byte alphabet. "type" of a model with merges may be absent (files of 2019),
// "truncation" and "padding" are for batches and not applied here. Anything else is refused by name: nothing is read
// half.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe_model.h"

namespace hadal {

struct TokenizerFile {
  std::vector<std::string> tokens;  // bytes by id, added tokens included
  std::vector<AddedToken> added;    // by id
  std::vector<Merge> merges;        // by rank
  std::array<int32_t, 256> byte_ids{};
  std::vector<std::string> splits;
  std::vector<char> in_vocabulary;     // by id: whether the model itself knows it; other added tokens stand beside it
  bool ignore_merges = false;          // a word that is a token of the model as it stands is that token
  bool equal_ranks = false;            // merges of one result, which stand together, have one rank
  int32_t n_unnamed = 0;               // last ids that are reserved and have no meaning
  std::vector<int32_t> before, after;  // what TemplateProcessing puts around one text
};

TokenizerFile read_tokenizer_json(const std::string& text);

std::string write_tokenizer_json(const TokenizerFile& file);
std::string write_tokenizer_config();  // with the report's BOS, EOS and PAD

}  // namespace hadal
