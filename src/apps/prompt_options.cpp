#include "apps/prompt_options.h"

#include <fmt/ranges.h>

#include <iostream>
#include <iterator>

#include "apps/cli.h"
#include "base/error.h"
#include "base/files.h"
#include "base/text_mark.h"
#include "dialogue/prompt.h"

namespace hadal {
namespace {

std::string read_whole(const std::string& path) {
  if (path != "-") return read_file(path);
  return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
}

std::string named(const std::string& path) { return path == "-" ? "standard input" : path; }

ChatInputs read_chat(const PromptOptions& o, bool quiet) {
  int64_t replaced = 0;
  ChatInputs chat = chat_from_json(o.chat_text, named(o.chat), replaced);
  if (replaced > 0) {
    print_notes(
        {fmt::format("{}: {} lone surrogates or bytes outside of UTF-8 became U+FFFD", named(o.chat), replaced)},
        quiet);
  }
  return chat;
}

std::vector<int32_t> chat_ids(const PromptOptions& o, const TextModel& loaded, bool quiet) {
  ChatInputs inputs = o.has_message ? chat_of(o.message) : read_chat(o, quiet);
  if (o.has_system) inputs = with_system(std::move(inputs), o.system);
  const auto unused = unused_variables(loaded.model.directory.string(), inputs, o.chat_template);
  if (!unused.empty())
    print_notes({fmt::format("{}: neither a key that Hadal knows nor one that the chat template mentions: {}",
                             named(o.chat), fmt::join(unused, ", "))},
                quiet);
  const auto ids = chat_prompt(loaded, std::move(inputs), o.chat_template);
  check(!ids.empty(), ErrorKind::invalid,
        "the chat template wrote nothing for these messages; look at it in {}, or name another with --chat-template",
        loaded.model.directory.string());
  return ids;
}

}  // namespace

void add_prompt_options(Verb verb, const std::shared_ptr<PromptOptions>& options) {
  PromptOptions& o = *options;
  const Option text = verb.add_option("--prompt", o.text, "text to go on from");
  const Option file = verb.add_option("--prompt-file", o.file, "the same from a file; - is standard input");
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
  const Option system = verb.add_option("--system", o.system, "with --message or --chat: a system message before");
  const auto mark = [options](Option option, bool PromptOptions::*given) {
    option.on_value([options, given] { (*options).*given = true; });
  };
  mark(file, &PromptOptions::has_file), mark(system, &PromptOptions::has_system);
  mark(text, &PromptOptions::has_text), mark(tokens, &PromptOptions::has_tokens);
  mark(prefix, &PromptOptions::has_fim), mark(suffix, &PromptOptions::has_fim);
  mark(message, &PromptOptions::has_message), mark(chat, &PromptOptions::has_chat);
}

RequestSettings read_prompt(PromptOptions& o) {
  check(o.has_text + o.has_file + o.has_tokens + o.has_fim + o.has_message + o.has_chat <= 1, ErrorKind::invalid,
        "give one of --prompt, --prompt-file, --prompt-tokens, --fim-prefix/--fim-suffix, --message and --chat");
  check(!o.has_system || o.has_message || o.has_chat, ErrorKind::invalid, "--system goes with --message or --chat");
  if (o.has_file) o.text = behind_mark(read_whole(o.file), named(o.file));
  if (!o.has_chat) return {};
  o.chat_text = read_whole(o.chat);
  return settings_of_request(o.chat_text, named(o.chat));
}

std::vector<int32_t> prompt_ids(const PromptOptions& o, const TextModel& loaded, bool quiet) {
  check(o.chat_template.empty() || o.has_message || o.has_chat, ErrorKind::invalid,
        "--chat-template goes with --message or --chat");
  std::vector<int32_t> ids;
  if (o.has_tokens) {
    ids = o.tokens;
  } else if (o.has_fim) {
    ids = fim_prompt(loaded.text(), o.prefix, o.suffix);
  } else if (o.has_message || o.has_chat) {
    ids = chat_ids(o, loaded, quiet);
  } else {
    ids = text_prompt(loaded, o.text);
  }
  check(!ids.empty(), ErrorKind::invalid,
        "the prompt has no token; give at least one character with --prompt (this model's tokenizer puts no token "
        "before a text)");
  return ids;
}

}  // namespace hadal
