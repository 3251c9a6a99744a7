// Dialogues to learn from, in the forms in which people keep them (data.sources.N.format), and the one form that they
// have from there on: JSON text, the same bytes for the same dialogue whatever file it came from.
//
//   alpaca             {"instruction", "input", "output"}; "input" may be empty or absent; optional "system", "history"
//                      [[question, answer], ...]. The user says instruction, or instruction "\n" input
//   messages           {"messages": [{"role", "content"}, ...]}; roles system, developer, user, assistant, tool;
//                      "reasoning_content" (or "thinking", "reasoning"), "tool_calls", "name", "tool_call_id" are kept;
//                      "weight": 0 keeps an answer from being trained; "tools" beside the list
//   sharegpt           {"conversations": [{"from", "value"}, ...]}: system, human, gpt, tool, observation,
//                      function_call; optional "system" and "tools" beside the list
//   prompt_completion  {"prompt", "completion"}, both texts or both lists of messages; the completion is trained
//
// A content is a text, or a list of text parts, which are joined. Other members are passed over.
//
// The one form: {"messages": [...], "tools": [...], "completion_from": N} with messages as above, the last two where
// there is something to say (N: the first message of a completion); or {"prompt", "completion"} of two texts.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "config/enums.h"

namespace hadal::data {

constexpr int64_t kMostMessages = 1000;  // of one dialogue: they are rendered once for each answer

// The dialogue of a valid JSON object, into `dialogue`; or why there is none, completing "FILE line N: ...".
// `field` is the name of the list of messages, "text" meaning the format's own. Adds to `replaced` what became U+FFFD.
std::string read_dialogue(std::string_view object, SourceFormat format, const std::string& field, std::string& dialogue,
                          int64_t& replaced);

// The member that an object of this format has to have.
std::string dialogue_member(SourceFormat format, const std::string& field);

// What is said in a dialogue, for the training of a tokenizer.
std::string words_of_dialogue(const std::string& dialogue);

}  // namespace hadal::data
