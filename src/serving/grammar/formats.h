// Formats: what an answer must be, as JSON in the language of XGrammar's structural tags. Added tokens are no text in
// it: a mark that is one stands there by its id, so that no schema's string can hold it.
//   {"type": "json_schema", "json_schema": {...}}   {"type": "regex", "pattern": "..."}   {"type": "grammar", ...}
//   {"type": "sequence", "elements": [...]}         {"type": "or", "elements": [...]}     ...
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace hadal {

using Json = nlohmann::ordered_json;

// A JSON text that the schema describes. Throws invalid, naming the place below `where`, for what of it would not be
// followed (schema_check.h).
Json format_of_schema(const Json& schema, const std::string& where);
Json format_of_any_object();
Json format_of_regex(const std::string& pattern);  // of the whole text
Json format_of_grammar(const std::string& ebnf);   // its rule `root`
Json format_of_choices(const std::vector<std::string>& choices);

struct ToolFormat {
  std::string name;
  Json arguments;  // a format
};
// Calls of these tools, in DeepSeek's spelling: with fences (V3, R1), or without (V3.1). Several: one or more of them.
Json format_of_calls(const Tokenizer& tokenizer, const std::vector<ToolFormat>& tools, bool fences, bool several);

// What comes first is free and ends with </think>.
Json format_after_thought(const Tokenizer& tokenizer, Json format);

}  // namespace hadal
