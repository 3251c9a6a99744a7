// What a generation goes on from, as token ids: a text, the two sides of a hole, or a chat.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dialogue/text_model.h"
#include "jinja/chat_template.h"
#include "text/chat_files.h"

namespace hadal {

// A text behind what stands before texts (text_start). Spelt control tokens in it are letters.
std::vector<int32_t> text_prompt(const TextModel& loaded, const std::string& text);

// Prompt ids of a fill-in-the-middle request (§2.2): begin prefix hole suffix end. Throws invalid if the tokenizer
// lacks them.
std::vector<int32_t> fim_prompt(const Tokenizer& tokenizer, const std::string& prefix, const std::string& suffix);

// One message of a user.
ChatInputs chat_of(const std::string& message);
// A list of messages, or {"messages": [...], "tools": [...], "documents": [...], settings, further variables}; those in
// an object "chat_template_kwargs" are variables too, and "add_generation_prompt": false leaves the model's turn
// unopened. Throws invalid; `where` stands in its message. The JSON is
// Python's (base/json_members.h); adds to `replaced` what became U+FFFD.
ChatInputs chat_from_json(const std::string& text, const std::string& where, int64_t& replaced);

// The same chat with a system message in front; throws invalid where one stands there already.
ChatInputs with_system(ChatInputs inputs, const std::string& system);

// What a request in the style of OpenAI's says of the generation.
struct RequestSettings {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int64_t> top_k, max_tokens;  // "max_completion_tokens" is another name of the latter
  std::optional<uint64_t> seed;
  std::optional<std::vector<std::string>> stop;  // one text or several
  std::vector<std::string> unused;               // keys of such requests that nothing follows, in their order
};
// Nothing is set where the text is a list. Throws invalid, naming the key, for wrong types.
RequestSettings settings_of_request(const std::string& text, const std::string& where);

// The chat as its template writes it, up to where the model's turn begins. `wanted` is the name of one of the
// directory's templates, else a file with a template; empty: the one that transformers takes (text/chat_files.h).
// Throws not_found for a directory that has no template, or none of this name.
std::vector<ChatFragment> rendered_chat(const std::string& directory, ChatInputs inputs,
                                        const std::string& wanted = "");
// The same of files that were read already. `wanted` is a name alone: whoever asks from afar names no file.
std::vector<ChatFragment> rendered_chat(const ChatFiles& files, const std::string& directory, ChatInputs inputs,
                                        const std::string& wanted = "");

// The names of inputs.variables that this template does not mention: misspelt, or another model's. Names of OpenAI's
// API are not among them. Throws as rendered_chat.
std::vector<std::string> unused_variables(const std::string& directory, const ChatInputs& inputs,
                                          const std::string& wanted = "");

// Its ids; text of messages never becomes a control token.
std::vector<int32_t> chat_prompt(const TextModel& loaded, ChatInputs inputs, const std::string& wanted = "");
// Whether what comes next is a thought, by the end of a chat's prompt.
bool opens_thought(const std::string& prompt);

}  // namespace hadal
