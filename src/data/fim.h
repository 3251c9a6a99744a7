// Fill in the middle (§2.2), prefix-suffix-middle: <fim_begin> prefix <fim_hole> suffix <fim_end> middle EOS.
// The text is cut at two character borders, drawn uniformly among pairs with a middle that is not empty, and the three
// parts are tokenised anew, so that a completion may begin inside of what would be one token.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "text/tokenizer.h"

namespace hadal::data {

struct FimTokens {
  int32_t begin = -1, hole = -1, end = -1, eos = -1;
};
FimTokens fim_tokens(const Tokenizer& tokenizer);  // throws invalid, naming the token that lacks

struct FimPassage {
  std::vector<int32_t> tokens;                 // with the four special ones
  int64_t prefix = 0, suffix = 0, middle = 0;  // tokens of each part
};
inline constexpr int64_t kFimExtraTokens = 4;
inline constexpr int64_t kFimSpareTokens =
    8;  // left free in parts of long documents, for the tokens that the two cuts add

// Byte positions [a, b) of the middle; nothing for a text of fewer than two characters.
std::optional<std::pair<int64_t, int64_t>> draw_middle(std::string_view text, RandomStream& random);

// Rearranges a part. max_tokens counts everything; tokenised anew the text may need more tokens than before: then the
// cuts move back to the nearest borders of the old tokens, which always fit if ids.size() + kFimExtraTokens <=
// max_tokens.
std::optional<FimPassage> make_fim(const Tokenizer& tokenizer, const FimTokens& special, std::span<const int32_t> ids,
                                   int64_t max_tokens, RandomStream random);

}  // namespace hadal::data
