// From a rendered chat to token ids: where the law of control tokens (jinja/chat_template.h) meets the tokenizer.
#pragma once
#include <cstdint>
#include <vector>

#include "jinja/chat_template.h"
#include "text/tokenizer.h"

namespace hadal {

// The ids of a rendered chat: those of encoding its whole text with added tokens parsed, as long as no message spells
// one.
std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const std::vector<ChatFragment>& fragments);

}  // namespace hadal
