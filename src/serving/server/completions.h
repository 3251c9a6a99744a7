// POST /v1/completions: a text goes on, or a hole in it is filled (suffix).
#pragma once
#include <memory>

#include "server/http_message.h"
#include "server/job.h"

namespace hadal {

// Throws ApiError, before anything runs, for what is refused.
void start_completion(const ServingParts& parts, const Json& request, std::shared_ptr<HttpReply> reply);

std::string random_name(const char* prefix);  // "cmpl-5f0c...", for an answer

}  // namespace hadal
