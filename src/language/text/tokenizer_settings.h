// Tokens and settings that stand beside a tokenizer's model, in tokenizer_config.json, special_tokens_map.json and
// added_tokens.json, and what they make of it. As in transformers' AutoTokenizer:
// - "added_tokens_decoder" of tokenizer_config.json, where it is there, is all that counts besides that file's names;
//   else special_tokens_map.json goes before tokenizer_config.json, and added_tokens.json adds tokens;
// - their flags (special, normalized, ...) go before those that tokenizer.json gives the same token;
// - a name (bos_token, ..., additional_special_tokens, extra_special_tokens, any other "..._token") of a token that is
//   none yet makes it one: of the vocabulary's token of this spelling, else behind the last id.
// Stricter than there: a token that would not get the id which its file gives it is refused.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/added_tokens.h"
#include "text/tokenizer_files.h"
#include "text/tokenizer_json.h"

namespace hadal {

struct TokenizerSettings {
  std::string tokenizer_class;
  bool has_decoder = false;                               // whether there is an added_tokens_decoder, however empty
  std::map<int32_t, AddedToken> by_id;                    // of it, else of added_tokens.json
  std::vector<std::pair<std::string, AddedToken>> named;  // bos_token, eos_token, ...; ids are not known here
  std::vector<AddedToken> extra;                          // of additional_special_tokens and extra_special_tokens
  std::optional<bool> add_bos, add_eos;

  // The content of the token of this name; nothing where none is named.
  std::optional<std::string> name(std::string_view key) const;
};

// Errors: corrupt (no JSON, wrong types; the message names file and key).
TokenizerSettings read_tokenizer_settings(const TokenizerFiles& files);

// Adds the settings' tokens to the model's. Errors: corrupt (an id that a token would not get).
void apply_settings(const TokenizerSettings& settings, TokenizerFile& file);

}  // namespace hadal
