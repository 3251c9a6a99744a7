// tokenizer.json and tokenizer_config.json (Hugging Face), read and written:
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
#include <optional>
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
  bool ignore_merges = false;
  std::vector<int32_t> before, after;  // what TemplateProcessing puts around one text
};

TokenizerFile read_tokenizer_json(const std::string& text);

// Names of tokenizer_config.json; empty where absent.
struct TokenizerNames {
  std::optional<std::string> bos, eos, pad;
  std::optional<bool> add_bos, add_eos;
};
TokenizerNames read_tokenizer_config(const std::string& text);

std::string write_tokenizer_json(const TokenizerFile& file);
std::string write_tokenizer_config();  // with the report's BOS, EOS and PAD

}  // namespace hadal
