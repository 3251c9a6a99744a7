// tiktoken.model, the vocabulary of Moonlight and Kimi-K2: a line "BASE64 RANK" for each token. Two neighbours merge
// where their joined bytes are a token, the lowest rank first; a rank is the token's id, and a word that is a token as
// it stands is that token. Ids behind them are special tokens, named by "added_tokens_decoder" of
// tokenizer_config.json. How text is split stands in Python code beside the file, not in any file of data: it is known
// here for the tokenizer class of these models.
#pragma once
#include <string>

#include "text/tokenizer_json.h"
#include "text/tokenizer_settings.h"

namespace hadal {

// The expression of TikTokenTokenizer in Moonlight's tokenization_moonshot.py and Kimi's tokenization_kimi.py.
const std::string& kimi_split();

// Errors: corrupt (no such lines; tokens or ranks twice or absent), unsupported (a tokenizer class whose expression is
// not known).
TokenizerFile read_tiktoken_model(const std::string& text, const TokenizerSettings& settings);

}  // namespace hadal
