// POST /v1/responses: OpenAI's newer shape of a chat. Input items become a chat's messages, and what the model writes
// becomes items: reasoning, a message, calls of functions. Nothing is stored: what refers to an earlier response is
// refused.
#pragma once
#include <memory>

#include "server/chat.h"
#include "server/http_message.h"
#include "server/job.h"

namespace hadal {

// Throws ApiError, before anything runs, for what is refused.
void start_response(const ServingParts& parts, const Json& request, std::shared_ptr<HttpReply> reply);

// The same request as /v1/chat/completions takes it. Throws ApiError, naming the field.
Json chat_of_response(const Json& request, const ServedModel& model);

}  // namespace hadal
