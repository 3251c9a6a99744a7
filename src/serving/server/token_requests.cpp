#include "server/token_requests.h"

#include "base/error.h"
#include "base/json.h"
#include "server/api_error.h"
#include "server/chat.h"
#include "text/stream_decoder.h"

namespace hadal {

Json tokenize(const ServedModel& model, const Json& json) {
  const JsonFields fields(json);
  fields.check_names({{"model", "prompt", "messages", "add_special_tokens", "return_token_strs", "parse_special",
                       "add_generation_prompt", "continue_final_message", "tools", "tool_choice", "documents",
                       "chat_template_kwargs"}});
  model.check_name(fields);
  const Tokenizer& words = model.words();
  std::vector<int32_t> ids;
  if (fields.find("messages") != nullptr) {
    if (fields.find("prompt") != nullptr) refuse("prompt", "prompt and messages are both given; give one");
    if (fields.boolean("continue_final_message"))
      refuse("continue_final_message", "continue_final_message is not offered");
    ids = prompt_of_chat(model, chat_of_request(fields, model)).ids;
  } else {
    const auto text = fields.text("prompt");
    if (!text) refuse("prompt", "prompt is missing: a text; or messages of a chat");
    if (fields.boolean("add_special_tokens", true)) ids = text_start(model.text_model());
    words.encode_to(*text, fields.boolean("parse_special", true) ? SpecialTokens::parse : SpecialTokens::as_text, ids);
  }
  Json texts;
  if (fields.boolean("return_token_strs")) {
    texts = Json::array();
    for (const int32_t id : ids) texts.push_back(model.text_of(id));
  }
  return {{"count", ids.size()}, {"max_model_len", model.positions()}, {"tokens", ids}, {"token_strs", texts}};
}

Json detokenize(const ServedModel& model, const Json& json) {
  const JsonFields fields(json);
  fields.check_names({{"model", "tokens"}});
  model.check_name(fields);
  const Tokenizer& words = model.words();
  const Json* tokens = fields.find("tokens");
  if (tokens == nullptr) refuse("tokens", "tokens is missing: a list of token ids");
  return {{"prompt", whole_text(words.decode(token_ids(*tokens, "tokens", words.vocab_size())))}};
}

Json tokenizer_info(const ServedModel& model) {
  const Tokenizer& words = model.words();
  Json info = Json::object();
  for (const auto& [name, text] : words.files()) {
    if (name != "tokenizer_config.json") continue;
    info = parse_json<Json>(text, name, {.object = true});
  }
  info.erase("added_tokens_decoder");
  for (auto& [key, value] : info.items())  // an AddedToken is what it spells
    if (value.is_object() && value.contains("content") && value["content"].is_string()) value = value["content"];
  if (!info.contains("tokenizer_class")) info["tokenizer_class"] = "PreTrainedTokenizerFast";
  const auto name = [&](const char* key, const std::optional<int32_t>& id) {
    if (!info.contains(key) || info[key].is_null()) info[key] = id ? Json(model.text_of(*id)) : Json();
  };
  name("bos_token", words.bos_id()), name("eos_token", words.eos_id()), name("pad_token", words.pad_id());
  if (const auto* chat = chosen_template(model.chat_files(), {}, model.name())) info["chat_template"] = chat->source;
  return info;
}

}  // namespace hadal
