#include "server/responses.h"

#include "server/api_error.h"
#include "server/chat_text.h"
#include "server/completions.h"
#include "server/response_items.h"

namespace hadal {
namespace {

class ResponseJob : public Job {
 public:
  ResponseJob(const ServingParts& p, std::shared_ptr<HttpReply> r, ChatRequest request, const Json& json)
      : Job(p, std::move(r), {std::move(request.prompt)}, std::move(request.settings)),
        tools_(request.tools),
        thinking_(request.thinking),
        asked_(json),
        name_(random_name("resp_")),
        text_(thinking_, tools_),
        items_(new_items()) {}

  void run() { start(1, parts.model.positions(), false); }

 protected:
  void on_begun() override {
    if (!settings.stream) return;
    for (const char* type : {"response.created", "response.in_progress"})
      send(type, {{"response", response("in_progress")}});
  }

  void on_text(Choice& choice, const std::string& text, const ScoredToken* token) override {
    (void)choice;
    const bool thought = text_.thinking();
    for (const ChatPart& part : text_.push(text)) items_.add(part);
    thought_tokens_ += token != nullptr && (thought || text_.thinking());
  }

  void on_choice_end(Choice& choice) override {
    for (const ChatPart& part : text_.finish()) items_.add(part);
    items_.end(choice.finish == "stop");
  }

  void on_choice_restart(Choice& choice) override {
    (void)choice;
    text_ = ChatText(thinking_, tools_);
    items_ = new_items();
    thought_tokens_ = 0;
  }

  void on_all_ended() override {
    const auto self = std::static_pointer_cast<ResponseJob>(shared_from_this());
    if (!settings.stream) return reply->later([self] { self->answer(); });
    const std::string status = final_status();
    send(("response." + status).c_str(), {{"response", response(status)}});
    reply->end();
  }

 private:
  std::string final_status() const {
    return failure() ? "failed" : choices[0].finish == "length" ? "incomplete" : "completed";
  }

  void send(const char* type, const Json& more) {
    Json event = {{"type", type}, {"sequence_number", sequence_++}};
    event.update(more);
    reply->piece(fmt::format("event: {}\ndata: {}\n\n", type, text_of_json(event)));
  }

  ResponseItems new_items() {
    if (!settings.stream) return ResponseItems({});
    return ResponseItems([this](const char* type, const Json& more) { send(type, more); });
  }

  Json asked(const char* name, Json otherwise) const {
    const Json* value = JsonFields(asked_).find(name);
    return value != nullptr ? *value : otherwise;
  }

  Json response(const std::string& status) const {
    const bool ended = status != "in_progress";
    Json json = {{"id", name_}, {"object", "response"}, {"created_at", created}, {"status", status}};
    json["error"] = nullptr;
    if (const auto error = ended ? failure() : std::nullopt)
      json["error"] = {{"code", "server_error"}, {"message", error->message}};
    json["incomplete_details"] = status == "incomplete" ? Json({{"reason", "max_output_tokens"}}) : Json();
    for (const char* name : {"instructions", "max_output_tokens"}) json[name] = asked(name, nullptr);
    json["model"] = parts.model.name();
    json["output"] = items_.list();
    json["parallel_tool_calls"] = asked("parallel_tool_calls", true);
    json["previous_response_id"] = nullptr;
    json["reasoning"] = asked("reasoning", {{"effort", nullptr}});
    json["store"] = false;
    json["temperature"] = settings.sampling.temperature;
    json["text"] = asked("text", {{"format", {{"type", "text"}}}});
    json["tool_choice"] = asked("tool_choice", "auto");
    json["tools"] = asked("tools", Json::array());
    json["top_p"] = settings.sampling.top_p;
    json["truncation"] = "disabled";
    json["usage"] = ended ? usage_of_response() : Json();
    json["metadata"] = asked("metadata", Json::object());
    if (!ended) return json;
    sign(json, choices[0]);
    json["system_fingerprint"] = fingerprint();
    return json;
  }

  Json usage_of_response() const {
    const Json of_chat = usage();
    return {{"input_tokens", of_chat["prompt_tokens"]},
            {"input_tokens_details",
             {{"cached_tokens", of_chat["prompt_tokens_details"]["cached_tokens"]}, {"cache_write_tokens", 0}}},
            {"output_tokens", of_chat["completion_tokens"]},
            {"output_tokens_details", {{"reasoning_tokens", thought_tokens_}}},
            {"total_tokens", of_chat["total_tokens"]}};
  }

  void answer() {
    if (const auto error = failure()) return reply->answer(error_answer(*error));
    reply->answer({.body = text_of_json(response(final_status())) + "\n"});
  }

  const bool tools_, thinking_;
  const Json asked_;
  const std::string name_;
  ChatText text_;
  ResponseItems items_;
  int64_t thought_tokens_ = 0, sequence_ = 0;
};

}  // namespace

void start_response(const ServingParts& parts, const Json& json, std::shared_ptr<HttpReply> reply) {
  const Json chat = chat_of_response(json, parts.model);
  try {
    ChatRequest request = read_chat_request(chat, parts);
    std::make_shared<ResponseJob>(parts, std::move(reply), std::move(request), json)->run();
  } catch (const ApiError& refused) {  // in the words of this request
    ApiError error = refused;
    const std::pair<std::string, std::string> words[] = {{"response_format", "text.format"},
                                                         {"reasoning_effort", "reasoning.effort"}};
    for (std::string* text : {&error.message, &error.param})
      for (const auto& [theirs, ours] : words)
        for (size_t at = 0; (at = text->find(theirs, at)) != std::string::npos; at += ours.size())
          text->replace(at, theirs.size(), ours);
    throw error;
  }
}

}  // namespace hadal
