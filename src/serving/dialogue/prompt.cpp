#include "dialogue/prompt.h"

#include <algorithm>
#include <cctype>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/json_members.h"
#include "base/text_mark.h"
#include "text/chat_files.h"
#include "text/encode_chat.h"

namespace hadal {

using Json = nlohmann::ordered_json;

namespace {

// Of requests in the style of OpenAI's: what generation follows, and what it does not.
constexpr const char* kSettings[] = {"temperature",
                                     "top_p",
                                     "min_p",
                                     "top_k",
                                     "max_tokens",
                                     "max_completion_tokens",
                                     "seed",
                                     "stop",
                                     "repetition_penalty",
                                     "presence_penalty",
                                     "frequency_penalty"};
constexpr const char* kUnused[] = {"n",
                                   "stream",
                                   "stream_options",
                                   "logprobs",
                                   "top_logprobs",
                                   "logit_bias",
                                   "response_format",
                                   "tool_choice",
                                   "parallel_tool_calls",
                                   "store",
                                   "metadata",
                                   "service_tier",
                                   "user",
                                   "modalities",
                                   "prediction",
                                   "functions",
                                   "function_call",
                                   "safety_identifier",
                                   "verbosity",
                                   "web_search_options",
                                   "audio",
                                   "prompt_cache_key",
                                   "prompt_cache_retention",
                                   "best_of",
                                   "echo",
                                   "suffix"};
// Says which model is asked, as --model does.
constexpr const char* kModel = "model";

int64_t local_clock() {  // seconds since 1970 of the calendar on this machine's wall
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  return int64_t(::timegm(&local));
}

}  // namespace

std::vector<int32_t> text_prompt(const TextModel& loaded, const std::string& text) {
  auto ids = text_start(loaded);
  loaded.text().encode_to(text, SpecialTokens::as_text, ids);
  return ids;
}

std::vector<int32_t> fim_prompt(const Tokenizer& tokenizer, const std::string& prefix, const std::string& suffix) {
  const auto begin = tokenizer.fim_begin_id(), hole = tokenizer.fim_hole_id(), end = tokenizer.fim_end_id();
  check(begin && hole && end, ErrorKind::invalid, "the tokenizer has no fill-in-the-middle tokens");
  std::vector<int32_t> ids{*begin};
  tokenizer.encode_to(prefix, SpecialTokens::as_text, ids);
  ids.push_back(*hole);
  tokenizer.encode_to(suffix, SpecialTokens::as_text, ids);
  ids.push_back(*end);
  return ids;
}

ChatInputs chat_of(const std::string& message) {
  return {.messages = json_text(Json::array({{{"role", "user"}, {"content", message}}})),
          .add_generation_prompt = true};
}

ChatInputs chat_from_json(const std::string& text, const std::string& where, int64_t& replaced) {
  const auto json =
      parse_json<Json>(strict_json(behind_mark(text, where), replaced), where, {.kind = ErrorKind::invalid});
  const bool object = json.is_object() && json.contains("messages");
  check(json.is_array() || object, ErrorKind::invalid,
        "{}: must be a JSON list of messages [{{\"role\": \"user\", \"content\": \"...\"}}], or an object with "
        "\"messages\"",
        where);
  ChatInputs inputs;
  inputs.messages = json_text(object ? json["messages"] : json);
  inputs.add_generation_prompt = true;
  if (!object) return inputs;
  Json rest = json;
  for (const char* known : {"messages", "tools", "documents", "chat_template_kwargs"}) rest.erase(known);
  for (const char* known : kSettings) rest.erase(known);
  if (json.contains("chat_template_kwargs")) {
    check(json["chat_template_kwargs"].is_object(), ErrorKind::invalid,
          "{}: \"chat_template_kwargs\" must be an object of variables", where);
    rest.update(json["chat_template_kwargs"]);
  }
  constexpr const char* kTurn = "add_generation_prompt";
  if (rest.contains(kTurn) && !rest[kTurn].is_null()) {
    check(rest[kTurn].is_boolean(), ErrorKind::invalid, "{}: \"{}\" is {}, not true or false", where, kTurn,
          json_text(rest[kTurn]).substr(0, 80));
    inputs.add_generation_prompt = rest[kTurn].get<bool>();
  }
  rest.erase(kTurn);
  const auto given = [&](const char* key) { return json.contains(key) && !json[key].is_null(); };
  if (given("tools")) inputs.tools = json_text(json["tools"]);
  if (given("documents")) inputs.documents = json_text(json["documents"]);
  inputs.variables = json_text(rest);
  return inputs;
}

ChatInputs with_system(ChatInputs inputs, const std::string& system) {
  const auto messages = parse_json<Json>(inputs.messages, "the messages", {.kind = ErrorKind::invalid});
  const bool has_one = messages.is_array() && !messages.empty() && messages[0].is_object() &&
                       messages[0].value("role", Json()) == "system";
  check(!has_one, ErrorKind::invalid, "the chat has a system message already; leave out --system or that message");
  Json all = Json::array({{{"role", "system"}, {"content", system}}});
  if (messages.is_array()) all.insert(all.end(), messages.begin(), messages.end());
  inputs.messages = json_text(all);
  return inputs;
}

RequestSettings settings_of_request(const std::string& text, const std::string& where) {
  int64_t ignored = 0;
  const auto json =
      parse_json<Json>(strict_json(behind_mark(text, where), ignored), where, {.kind = ErrorKind::invalid});
  RequestSettings settings;
  if (!json.is_object()) return settings;
  const auto given = [&](const char* key) { return json.contains(key) && !json[key].is_null(); };
  const auto wrong = [&](const char* key, const char* what) {
    fail(ErrorKind::invalid, "{}: \"{}\" is {}, not {}", where, key, json_text(json[key]).substr(0, 80), what);
  };
  const auto real = [&](const char* key, std::optional<double>& out) {
    if (!given(key)) return;
    if (!json[key].is_number()) wrong(key, "a number");
    out = json[key].get<double>();
  };
  const auto whole = [&](const char* key, std::optional<int64_t>& out) {
    if (!given(key)) return;
    const bool fits = json[key].is_number_integer() && json[key] >= 0 && json[key] <= int64_t(1) << 40;
    if (!fits) wrong(key, "a whole number from 0 to 2^40");
    out = json[key].get<int64_t>();
  };
  real("temperature", settings.temperature), real("top_p", settings.top_p), real("min_p", settings.min_p);
  real("repetition_penalty", settings.repetition_penalty), real("presence_penalty", settings.presence_penalty);
  real("frequency_penalty", settings.frequency_penalty);
  if (given("stop")) {
    settings.stop.emplace();
    for (const Json& one : json["stop"].is_array() ? json["stop"] : Json::array({json["stop"]})) {
      if (!one.is_string()) wrong("stop", "a text or a list of texts");
      settings.stop->push_back(one.get<std::string>());
    }
  }
  whole("top_k", settings.top_k), whole("max_tokens", settings.max_tokens);
  whole("max_completion_tokens", settings.max_tokens);
  if (given("seed")) {
    if (!json["seed"].is_number_unsigned() && !(json["seed"].is_number_integer() && json["seed"] >= 0))
      wrong("seed", "a whole number from 0");
    settings.seed = json["seed"].get<uint64_t>();
  }
  for (const char* key : kUnused)
    if (given(key)) settings.unused.push_back(key);
  return settings;
}

namespace {

struct Chosen {
  NamedTemplate one;
  ChatFiles files;
};

Chosen chosen_for(const std::string& directory, const ChatInputs& inputs, const std::string& wanted) {
  ChatFiles files = read_chat_files(directory);
  const bool known = std::any_of(files.templates.begin(), files.templates.end(),
                                 [&](const NamedTemplate& one) { return one.name == wanted; });
  if (!wanted.empty() && !known && std::filesystem::exists(wanted))
    return {{wanted, read_file(wanted), wanted}, std::move(files)};
  check(!files.templates.empty(), ErrorKind::not_found,
        "{}: this model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); "
        "give it a text to go on from",
        directory);
  NamedTemplate one = *chosen_template(files, {.name = wanted, .tools = !inputs.tools.empty()}, directory);
  return {std::move(one), std::move(files)};
}

std::vector<ChatFragment> rendered_by(const ChatTemplate& chat, ChatInputs inputs) {
  // Null fields stay: the released template asks whether content is none.
  inputs.text_parts = inputs.reasoning_names = true;
  inputs.clock = local_clock();
  return chat.render(inputs);
}

// Whether the name stands in the text as a word of its own.
bool mentions(const std::string& text, const std::string& name) {
  const auto of_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
    const size_t end = at + name.size();
    if ((at == 0 || !of_word(text[at - 1])) && (end == text.size() || !of_word(text[end]))) return true;
  }
  return false;
}

}  // namespace

std::vector<ChatFragment> rendered_chat(const std::string& directory, ChatInputs inputs, const std::string& wanted) {
  const Chosen chosen = chosen_for(directory, inputs, wanted);
  return rendered_by(parse_template_of(chosen.one, chosen.files), std::move(inputs));
}

std::vector<ChatFragment> rendered_chat(const ChatFiles& files, const std::string& directory, ChatInputs inputs,
                                        const std::string& wanted) {
  const auto* one = chosen_template(files, {.name = wanted, .tools = !inputs.tools.empty()}, directory);
  check(one != nullptr, ErrorKind::not_found, "{}: this model has no chat template", directory);
  return rendered_by(parse_template_of(*one, files), std::move(inputs));
}

std::vector<std::string> unused_variables(const std::string& directory, const ChatInputs& inputs,
                                          const std::string& wanted) {
  std::vector<std::string> unused;
  if (inputs.variables.empty()) return unused;
  const std::string source = chosen_for(directory, inputs, wanted).one.source;
  const auto variables = parse_json<Json>(inputs.variables, "the variables");
  for (const auto& [name, value] : variables.items()) {
    const bool of_api = name == kModel || std::find(std::begin(kUnused), std::end(kUnused), name) != std::end(kUnused);
    if (!of_api && !mentions(source, name)) unused.push_back(name);
  }
  return unused;
}

std::vector<int32_t> chat_prompt(const TextModel& loaded, ChatInputs inputs, const std::string& wanted) {
  return encode_chat(loaded.text(), rendered_chat(loaded.model.directory.string(), std::move(inputs), wanted));
}

bool opens_thought(const std::string& prompt) {
  const size_t end = prompt.find_last_not_of(" \t\r\n");
  return end != std::string::npos && std::string_view(prompt).substr(0, end + 1).ends_with("<think>");
}

}  // namespace hadal
