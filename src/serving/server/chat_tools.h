// The tools of a chat's request: which its template is shown, and which calls the answer must have.
#pragma once
#include <optional>

#include "server/json_fields.h"
#include "server/served_model.h"

namespace hadal {

// Null: none, or none to be used ("tool_choice": "none"). Throws ApiError.
Json tools_of_request(const JsonFields& fields);

// The format of an answer (grammar/formats.h) by tool_choice, tools and what the answer must be where it calls none:
// calls where the choice forces them, else one of both. Nothing: any text. Throws ApiError.
std::optional<Json> format_with_tools(const JsonFields& fields, const ServedModel& model,
                                      const std::optional<Json>& answer);

}  // namespace hadal
