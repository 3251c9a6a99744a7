// The options of a verb that say what a generation goes on from: text, token ids, the two sides of a hole, or a chat.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "apps/options.h"
#include "dialogue/text_model.h"

namespace hadal {

struct PromptOptions {
  std::string text, prefix, suffix;
  std::vector<int32_t> tokens;
  std::string message;        // one message of a user
  std::string chat;           // a file of messages, "-" is standard input
  std::string chat_template;  // of the model's, by name; or a file
  bool has_text = false, has_tokens = false, has_fim = false, has_message = false, has_chat = false;
  std::string shown() const { return has_fim || has_message || has_chat ? "" : text; }  // before the generated text
};

void add_prompt_options(Verb verb, const std::shared_ptr<PromptOptions>& options);

// Ids of the one prompt that was given (none: what stands before a text). Throws invalid for two prompts at once or an
// empty one.
std::vector<int32_t> prompt_ids(const PromptOptions& options, const TextModel& loaded, bool quiet);

}  // namespace hadal
