// POST /tokenize and /detokenize, GET /tokenizer_info: in the shapes of vLLM, which other tools look for.
#pragma once
#include <string>

#include "server/json_fields.h"
#include "server/served_model.h"

namespace hadal {

// A text's ids, or those of a chat. Spelt control tokens count as such, unlike in a completion's prompt, unless
// parse_special is false. Throws ApiError.
Json tokenize(const ServedModel& model, const Json& request);
Json detokenize(const ServedModel& model, const Json& request);
Json tokenizer_info(const ServedModel& model);

}  // namespace hadal
