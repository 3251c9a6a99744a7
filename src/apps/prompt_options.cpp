#include "apps/prompt_options.h"

#include <iostream>
#include <iterator>

#include "apps/cli.h"
#include "base/error.h"
#include "base/files.h"
#include "dialogue/prompt.h"

namespace hadal {
namespace {

ChatInputs read_chat(const std::string& path, bool quiet) {
  const bool standard_input = path == "-";
  const std::string text = standard_input
                               ? std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>())
                               : read_file(path);
  const std::string where = standard_input ? "standard input" : path;
  int64_t replaced = 0;
  ChatInputs chat = chat_from_json(text, where, replaced);
  if (replaced > 0) {
    print_notes({fmt::format("{}: {} lone surrogates or bytes outside of UTF-8 became U+FFFD", where, replaced)},
                quiet);
  }
  return chat;
}

}  // namespace

void add_prompt_options(Verb verb, const std::shared_ptr<PromptOptions>& options) {
  PromptOptions& o = *options;
  const Option text = verb.add_option("--prompt", o.text, "text to go on from");
  const Option tokens =
      verb.add_option("--prompt-tokens", o.tokens, "token ids instead of text, separated by commas").separated_by(',');
  const Option prefix = verb.add_option("--fim-prefix", o.prefix, "fill in the middle: the text before");
  const Option suffix = verb.add_option("--fim-suffix", o.suffix, "fill in the middle: the text after");
  const Option message =
      verb.add_option("--message", o.message, "a user's message to answer, by the model's chat template");
  const Option chat =
      verb.add_option("--chat", o.chat,
                      "a JSON file (- is standard input): a list of messages {\"role\", \"content\"}, or an "
                      "object with \"messages\" and \"tools\"");
  verb.add_option(
      "--chat-template", o.chat_template,
      "with --message or --chat: one of the model's chat templates by its name, or a file with one (without: "
      "'tool_use' for a chat with tools where there is one, else 'default', else the only one)");
  const auto mark = [options](Option option, bool PromptOptions::*given) {
    option.on_value([options, given] { (*options).*given = true; });
  };
  mark(text, &PromptOptions::has_text), mark(tokens, &PromptOptions::has_tokens);
  mark(prefix, &PromptOptions::has_fim), mark(suffix, &PromptOptions::has_fim);
  mark(message, &PromptOptions::has_message), mark(chat, &PromptOptions::has_chat);
}

std::vector<int32_t> prompt_ids(const PromptOptions& o, const TextModel& loaded, bool quiet) {
  check(o.has_text + o.has_tokens + o.has_fim + o.has_message + o.has_chat <= 1, ErrorKind::invalid,
        "give one of --prompt, --prompt-tokens, --fim-prefix/--fim-suffix, --message and --chat");
  check(o.chat_template.empty() || o.has_message || o.has_chat, ErrorKind::invalid,
        "--chat-template goes with --message or --chat");
  std::vector<int32_t> ids;
  if (o.has_tokens) {
    ids = o.tokens;
  } else if (o.has_fim) {
    ids = fim_prompt(loaded.text(), o.prefix, o.suffix);
  } else if (o.has_message) {
    ids = chat_prompt(loaded, chat_of(o.message), o.chat_template);
  } else if (o.has_chat) {
    ids = chat_prompt(loaded, read_chat(o.chat, quiet), o.chat_template);
  } else {
    ids = text_prompt(loaded, o.text);
  }
  check(!ids.empty(), ErrorKind::invalid,
        "the prompt has no token; give at least one character with --prompt (this model's tokenizer puts no token "
        "before a text)");
  return ids;
}

}  // namespace hadal
