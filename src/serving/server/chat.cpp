#include "server/chat.h"

#include "dialogue/prompt.h"
#include "grammar/formats.h"
#include "server/api_error.h"
#include "server/chat_text.h"
#include "server/chat_tools.h"
#include "server/completions.h"
#include "server/constraints.h"
#include "server/log_probs.h"

namespace hadal {
namespace {

void check_names(const JsonFields& fields) {
  fields.check_names(
      {setting_names(),
       names_without_effect(),
       constraint_names(),
       {"messages", "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort", "logprobs", "top_logprobs",
        "max_completion_tokens", "documents", "chat_template_kwargs", "add_generation_prompt", "functions",
        "function_call", "audio", "modalities", "prediction", "web_search_options"}});
  for (const char* name : {"functions", "function_call", "audio", "prediction", "web_search_options"})
    if (fields.find(name) != nullptr) refuse(name, "{} is not offered{}", name, name[0] == 'f' ? "; use tools" : "");
  if (const Json* kinds = fields.find("modalities"); kinds != nullptr && *kinds != Json::array({"text"}))
    refuse("modalities", "modalities = {} must be [\"text\"]", shown(*kinds));
}

}  // namespace

ChatRequest read_chat_request(const Json& json, const ServingParts& parts) {
  const ServedModel& model = parts.model;
  const JsonFields fields(json);
  check_names(fields);
  model.check_name(fields);
  ChatRequest request;
  AnswerSettings& settings = request.settings;
  settings = read_settings(fields, model.limits(), model.text_model().makers);
  if (const auto most = fields.integer("max_completion_tokens", 1, model.positions())) {
    if (settings.max_tokens)
      refuse("max_tokens", "max_tokens and max_completion_tokens are two names of one thing; give one");
    settings.max_tokens = most;
  }
  settings.log_probs = fields.boolean("logprobs");
  if (const auto top = fields.integer("top_logprobs", 0, kMostTopLogProbs)) {
    if (!settings.log_probs) refuse("top_logprobs", "top_logprobs belongs to \"logprobs\": true");
    settings.n_top = *top;
  }
  const std::optional<Json> answer = format_of_request(fields);
  ChatInputs inputs = chat_of_request(fields, model);
  request.tools = !inputs.tools.empty();
  request.prompt = prompt_of_chat(model, std::move(inputs));
  request.thinking = opens_thought(request.prompt.text);
  if (std::optional<Json> format = format_with_tools(fields, model, answer)) {
    if (request.thinking) format = format_after_thought(model.words(), std::move(*format));
    constrain(settings, parts, *format, answer ? name_of_constraint(fields) : "tool_choice");
  }
  return request;
}

namespace {

// What came of one answer so far.
struct Reply {
  Reply(bool thinking, bool tools) : text(thinking, tools) {}
  ChatText text;
  std::string content, reasoning;
  Json calls = Json::array();
  bool begun = false;
};

class ChatJob : public Job {
 public:
  ChatJob(const ServingParts& p, std::shared_ptr<HttpReply> r, ChatRequest request)
      : Job(p, std::move(r), {std::move(request.prompt)}, std::move(request.settings)),
        tools_(request.tools),
        thinking_(request.thinking),
        name_(random_name("chatcmpl-")) {
    for (int64_t i = 0; i < settings.n; ++i) replies_.emplace_back(thinking_, tools_);
  }

  void run() { start(settings.n, parts.model.positions(), false); }

 protected:
  void on_text(Choice& choice, const std::string& text, const ScoredToken* token) override {
    Reply& one = replies_[size_t(choice.index)];
    const std::vector<ChatPart> found = one.text.push(text);
    if (!settings.stream) return keep(one, found);
    Json log_probs;
    if (settings.log_probs && token != nullptr)
      log_probs = {{"content", Json::array({chat_log_prob(parts.model, *token)})}, {"refusal", nullptr}};
    Json ids;
    if (settings.return_token_ids && token != nullptr) ids = Json::array({token->id});
    send(choice, one, found, log_probs, ids);
  }

  void on_choice_end(Choice& choice) override {
    Reply& one = replies_[size_t(choice.index)];
    const std::vector<ChatPart> rest = one.text.finish();
    if (!settings.stream) return keep(one, rest);
    if (!choice.error.empty()) return;
    send(choice, one, rest, Json(), Json());
    send_delta(choice, Json::object(), Json(), Json(), finish_of(choice));
  }

  void on_choice_restart(Choice& choice) override { replies_[size_t(choice.index)] = Reply(thinking_, tools_); }

  void on_all_ended() override {
    const auto self = std::static_pointer_cast<ChatJob>(shared_from_this());
    if (!settings.stream) return reply->later([self] { self->answer(); });
    if (const auto error = failure()) reply->piece("data: " + error_json(*error) + "\n\n");
    if (settings.stream_usage) {
      Json last = frame("chat.completion.chunk", Json::array());
      last["usage"] = usage();
      event(last);
    }
    reply->piece("data: [DONE]\n\n");
    reply->end();
  }

 private:
  static Json call_json(const ChatPart& part, size_t index) {
    return {{"index", index},
            {"id", random_name("call_")},
            {"type", "function"},
            {"function", {{"name", part.name}, {"arguments", part.text}}}};
  }

  static void keep(Reply& one, const std::vector<ChatPart>& found) {
    for (const ChatPart& part : found) {
      if (part.kind == ChatPart::Kind::tool_call)
        one.calls.push_back(call_json(part, one.calls.size()));
      else
        (part.kind == ChatPart::Kind::reasoning ? one.reasoning : one.content) += part.text;
    }
  }

  // A chunk for each part; log-probabilities and ids go with the first, or alone.
  void send(const Choice& choice, Reply& one, const std::vector<ChatPart>& found, Json log_probs, Json ids) {
    if (!one.begun) {
      one.begun = true;
      send_delta(choice, {{"role", "assistant"}, {"content", ""}}, Json(), Json(), "");
    }
    for (const ChatPart& part : found) {
      Json delta;
      if (part.kind == ChatPart::Kind::tool_call) {
        delta["tool_calls"] = Json::array({call_json(part, one.calls.size())});
        one.calls.push_back(nullptr);  // counted
      } else {
        delta[part.kind == ChatPart::Kind::reasoning ? "reasoning_content" : "content"] = part.text;
      }
      send_delta(choice, std::move(delta), std::exchange(log_probs, Json()), std::exchange(ids, Json()), "");
    }
    if (!log_probs.is_null() || !ids.is_null())
      send_delta(choice, Json::object(), std::move(log_probs), std::move(ids), "");
  }

  void send_delta(const Choice& choice, Json delta, Json log_probs, Json ids, const std::string& finish) {
    Json one = {{"index", choice.index}, {"delta", std::move(delta)}, {"logprobs", std::move(log_probs)}};
    one["finish_reason"] = finish.empty() ? Json() : Json(finish);
    if (!ids.is_null()) one["token_ids"] = std::move(ids);
    if (!finish.empty()) sign(one, choice);
    Json chunk = frame("chat.completion.chunk", Json::array({std::move(one)}));
    if (settings.stream_usage) chunk["usage"] = nullptr;
    event(chunk);
  }

  std::string finish_of(const Choice& choice) const {
    const bool calls = !replies_[size_t(choice.index)].calls.empty();
    return calls && choice.finish == "stop" ? "tool_calls" : choice.finish;
  }

  Json frame(const char* object, Json of_choices) const {
    return {{"id", name_},
            {"object", object},
            {"created", created},
            {"model", parts.model.name()},
            {"system_fingerprint", fingerprint()},
            {"choices", std::move(of_choices)}};
  }

  Json whole(const Choice& choice) const {
    const Reply& one = replies_[size_t(choice.index)];
    Json message = {{"role", "assistant"}, {"content", one.content}, {"refusal", nullptr}};
    if (!one.reasoning.empty()) message["reasoning_content"] = one.reasoning;
    if (!one.calls.empty()) {
      if (one.content.empty()) message["content"] = nullptr;
      message["tool_calls"] = one.calls;
      for (Json& call : message["tool_calls"]) call.erase("index");
    }
    Json json = {{"index", choice.index}, {"message", std::move(message)}, {"logprobs", nullptr}};
    json["finish_reason"] = finish_of(choice);
    sign(json, choice);
    if (settings.log_probs) {
      Json list = Json::array();
      for (const ScoredToken& token : choice.tokens) list.push_back(chat_log_prob(parts.model, token));
      json["logprobs"] = {{"content", std::move(list)}, {"refusal", nullptr}};
    }
    if (settings.return_token_ids) {
      json["token_ids"] = Json::array();
      for (const ScoredToken& token : choice.tokens) json["token_ids"].push_back(token.id);
    }
    return json;
  }

  void answer() {
    if (const auto error = failure()) return reply->answer(error_answer(*error));
    Json list = Json::array();
    for (const Choice& choice : choices) list.push_back(whole(choice));
    Json json = frame("chat.completion", std::move(list));
    json["usage"] = usage();
    if (settings.return_token_ids) json["prompt_token_ids"] = prompts[0].ids;
    reply->answer({.body = text_of_json(json) + "\n"});
  }

  const bool tools_, thinking_;
  const std::string name_;
  std::vector<Reply> replies_;
};

}  // namespace

void start_chat(const ServingParts& parts, const Json& json, std::shared_ptr<HttpReply> reply) {
  std::make_shared<ChatJob>(parts, std::move(reply), read_chat_request(json, parts))->run();
}

}  // namespace hadal
