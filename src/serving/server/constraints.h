// What a request says its answer must be: response_format (of /v1/responses: text.format), as OpenAI's API has it, and
// structured_outputs, as vLLM has it; tool_choice is the chat's (chat_tools.h). Read into formats (grammar/formats.h),
// then compiled.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grammar/grammars.h"
#include "server/job.h"
#include "server/settings.h"

namespace hadal {

// Names that format_of_request reads or refuses.
const std::vector<std::string>& constraint_names();

// Nothing: any text. Throws ApiError, naming the field, for what is not offered.
std::optional<Json> format_of_request(const JsonFields& fields);

// The field that says so.
const char* name_of_constraint(const JsonFields& fields);

// A form that is not kept yet, which takes seconds to compile: the request is read anew where it may wait for that.
struct FormNotCompiled {};

// Puts the format into the settings. `name`: of the field that asks for it. Throws ApiError where it cannot be
// followed, and FormNotCompiled where it must be compiled first and that is not for here (ServingParts::compiles).
void constrain(AnswerSettings& settings, const ServingParts& parts, const Json& format, const char* name);

}  // namespace hadal
