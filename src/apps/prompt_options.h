// The options of a verb that say what a generation goes on from: text, token ids, the two sides of a hole, or a chat.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "apps/options.h"
#include "dialogue/prompt.h"
#include "dialogue/text_model.h"

namespace hadal {

struct PromptOptions {
  std::string text, prefix, suffix;
  std::vector<int32_t> tokens;
  std::string message;        // one message of a user
  std::string chat;           // a file of messages, "-" is standard input
  std::string chat_template;  // of the model's, by name; or a file
  std::string file;           // a text, "-" is standard input
  std::string chat_text;      // what the file of --chat holds, once read
  std::string system;         // a message before those of the chat
  bool has_system = false, has_file = false;
  bool has_text = false, has_tokens = false, has_fim = false, has_message = false, has_chat = false;
  std::string shown() const { return has_fim || has_message || has_chat ? "" : text; }  // before the generated text
};

void add_prompt_options(Verb verb, const std::shared_ptr<PromptOptions>& options);

// Reads the files that the options name, once; gives what the request in --chat says of the generation. Throws invalid,
// for two prompts at once too.
RequestSettings read_prompt(PromptOptions& options);

// Ids of the one prompt that was given, after read_prompt (none: what stands before a text). Throws invalid for an
// empty one.
std::vector<int32_t> prompt_ids(const PromptOptions& options, const TextModel& loaded, bool quiet);

}  // namespace hadal
