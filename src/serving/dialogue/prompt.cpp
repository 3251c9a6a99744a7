#include "dialogue/prompt.h"

#include <algorithm>
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
  return {.messages = json_text(Json::array({{{"role", "user"}, {"content", message}}}))};
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
  if (!object) return inputs;
  Json rest = json;
  for (const char* known : {"messages", "tools", "documents"}) rest.erase(known);
  const auto given = [&](const char* key) { return json.contains(key) && !json[key].is_null(); };
  if (given("tools")) inputs.tools = json_text(json["tools"]);
  if (given("documents")) inputs.documents = json_text(json["documents"]);
  inputs.variables = json_text(rest);
  return inputs;
}

namespace {

ChatTemplate template_for(const std::string& directory, const TemplateChoice& choice) {
  ChatFiles files = read_chat_files(directory);
  const bool known = std::any_of(files.templates.begin(), files.templates.end(),
                                 [&](const NamedTemplate& one) { return one.name == choice.name; });
  if (!choice.name.empty() && !known && std::filesystem::exists(choice.name))
    return parse_template_of({choice.name, read_file(choice.name), choice.name}, files);
  check(!files.templates.empty(), ErrorKind::not_found,
        "{}: this model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); "
        "give it a text to go on from",
        directory);
  return parse_template_of(*chosen_template(files, choice, directory), files);
}

}  // namespace

std::vector<ChatFragment> rendered_chat(const std::string& directory, ChatInputs inputs, const std::string& wanted) {
  const ChatTemplate chat = template_for(directory, {.name = wanted, .tools = !inputs.tools.empty()});
  inputs.add_generation_prompt = true;  // null fields stay: the released template asks whether content is none
  inputs.text_parts = inputs.reasoning_names = true;
  inputs.clock = local_clock();
  return chat.render(inputs);
}

std::vector<int32_t> chat_prompt(const TextModel& loaded, ChatInputs inputs, const std::string& wanted) {
  return encode_chat(loaded.text(), rendered_chat(loaded.model.directory.string(), std::move(inputs), wanted));
}

}  // namespace hadal
