// One prompt of several kinds; exactly one may be given.
#include "apps/prompt.h"

#include <CLI/CLI.hpp>

#include <ctime>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/text_format.h"
#include "text/chat_files.h"
#include "text/encode_chat.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;

// A list of messages, or {"messages": [...], "tools": [...], "documents": [...], further variables}.
ChatInputs read_chat(const std::string& path) {
  const std::string where = path == "-" ? "standard input" : path;
  const std::string text = path == "-"
                               ? std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>())
                               : read_file(path);
  check(!nests_deeper_than(text, 64), ErrorKind::invalid, "{}: nested too deeply", where);
  const auto json = Json::parse(text, nullptr, false);
  const bool object = json.is_object() && json.contains("messages");
  check(json.is_array() || object, ErrorKind::invalid,
        "{}: must be a JSON list of messages [{{\"role\": \"user\", \"content\": \"...\"}}], or an object with "
        "\"messages\"",
        where);
  ChatInputs inputs;
  inputs.messages = (object ? json["messages"] : json).dump();
  if (!object) return inputs;
  Json rest = json;
  for (const char* known : {"messages", "tools", "documents"}) rest.erase(known);
  if (json.contains("tools")) inputs.tools = json["tools"].dump();
  if (json.contains("documents")) inputs.documents = json["documents"].dump();
  inputs.variables = rest.dump();
  return inputs;
}

int64_t local_clock() {  // seconds since 1970 of the calendar on this machine's wall
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  return int64_t(::timegm(&local));
}

std::vector<int32_t> chat_ids(ChatInputs inputs, const TextModel& loaded) {
  const std::string directory = loaded.model.directory.string();
  const auto chat = read_chat_template(directory);
  check(chat.has_value(), ErrorKind::not_found,
        "{}: this model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); use "
        "--prompt",
        directory);
  inputs.add_generation_prompt = true;  // null fields stay: the released template asks whether content is none
  inputs.clock = local_clock();
  return encode_chat(loaded.text(), chat->render(inputs));
}

std::vector<int32_t> text_ids(const std::string& text, const TextModel& loaded) {
  auto ids = text_start(loaded);
  loaded.text().encode_to(text, SpecialTokens::as_text, ids);
  return ids;
}

}  // namespace

void add_prompt_options(CLI::App& verb, const std::shared_ptr<PromptOptions>& options) {
  PromptOptions& o = *options;
  auto* text = verb.add_option("--prompt", o.text, "text to go on from");
  auto* tokens =
      verb.add_option("--prompt-tokens", o.tokens, "token ids instead of text, separated by commas")->delimiter(',');
  auto* prefix = verb.add_option("--fim-prefix", o.prefix, "fill in the middle: the text before");
  auto* suffix = verb.add_option("--fim-suffix", o.suffix, "fill in the middle: the text after");
  auto* message = verb.add_option("--message", o.message, "a user's message to answer, by the model's chat template");
  auto* chat = verb.add_option("--chat", o.chat,
                               "a JSON file (- is standard input): a list of messages {\"role\", \"content\"}, or an "
                               "object with \"messages\" and \"tools\"");
  const auto mark = [options](CLI::Option* option, bool PromptOptions::*given) {
    option->each([options, given](const std::string&) { (*options).*given = true; });
  };
  mark(text, &PromptOptions::has_text), mark(tokens, &PromptOptions::has_tokens);
  mark(prefix, &PromptOptions::has_fim), mark(suffix, &PromptOptions::has_fim);
  mark(message, &PromptOptions::has_message), mark(chat, &PromptOptions::has_chat);
}

std::vector<int32_t> prompt_ids(const PromptOptions& o, const TextModel& loaded) {
  check(o.has_text + o.has_tokens + o.has_fim + o.has_message + o.has_chat <= 1, ErrorKind::invalid,
        "give one of --prompt, --prompt-tokens, --fim-prefix/--fim-suffix, --message and --chat");
  std::vector<int32_t> ids;
  if (o.has_tokens) {
    ids = o.tokens;
  } else if (o.has_fim) {
    ids = fim_prompt(loaded.text(), o.prefix, o.suffix);
  } else if (o.has_message) {
    ids = chat_ids({.messages = Json::array({{{"role", "user"}, {"content", o.message}}}).dump()}, loaded);
  } else if (o.has_chat) {
    ids = chat_ids(read_chat(o.chat), loaded);
  } else {
    ids = text_ids(o.text, loaded);
  }
  check(!ids.empty(), ErrorKind::invalid,
        "the prompt has no token; give at least one character with --prompt (this model's tokenizer puts no token "
        "before a text)");
  return ids;
}

}  // namespace hadal
