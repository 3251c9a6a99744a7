// POST /v1/chat/completions: a chat goes on, by the model's template; reasoning and tool calls are told apart.
#pragma once
#include <memory>

#include "server/http_message.h"
#include "server/job.h"

namespace hadal {

// Throws ApiError, before anything runs, for what is refused.
void start_chat(const ServingParts& parts, const Json& request, std::shared_ptr<HttpReply> reply);

struct ChatRequest {
  AnswerSettings settings;
  ServedPrompt prompt;
  bool tools = false, thinking = false;  // tools are offered; the prompt has opened <think>
};
// Throws ApiError.
ChatRequest read_chat_request(const Json& request, const ServingParts& parts);

// The chat of a request as a template takes it. Throws ApiError.
ChatInputs chat_of_request(const JsonFields& fields, const ServedModel& model);
// Its ids and text by the model's template.
ServedPrompt prompt_of_chat(const ServedModel& model, ChatInputs inputs);

}  // namespace hadal
