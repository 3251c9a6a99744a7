// What a generation goes on from, as token ids: a text, the two sides of a hole, or a chat.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "dialogue/text_model.h"
#include "jinja/chat_template.h"

namespace hadal {

// A text behind what stands before texts (text_start). Spelt control tokens in it are letters.
std::vector<int32_t> text_prompt(const TextModel& loaded, const std::string& text);

// Prompt ids of a fill-in-the-middle request (§2.2): begin prefix hole suffix end. Throws invalid if the tokenizer
// lacks them.
std::vector<int32_t> fim_prompt(const Tokenizer& tokenizer, const std::string& prefix, const std::string& suffix);

// One message of a user.
ChatInputs chat_of(const std::string& message);
// A list of messages, or {"messages": [...], "tools": [...], "documents": [...], further variables}. Throws invalid;
// `where` stands in its message. The JSON is Python's (base/json_members.h); adds to `replaced` what became U+FFFD.
ChatInputs chat_from_json(const std::string& text, const std::string& where, int64_t& replaced);

// A chat through the model's chat template, up to where the model's turn begins; text of messages never becomes a
// control token. Throws not_found for a model that has no template.
std::vector<int32_t> chat_prompt(const TextModel& loaded, ChatInputs inputs);

}  // namespace hadal
