// The options of a verb that say what its text must be: --json-schema, --regex. Followed as the server follows them
// (grammar/grammars.h).
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "apps/options.h"
#include "dialogue/text_model.h"
#include "grammar/formats.h"

namespace hadal {

struct FormOptions {
  std::string schema_file, regex;
  bool has_schema = false, has_regex = false;
};

// The options must live until the verb has run.
void add_form_options(Verb verb, const std::shared_ptr<FormOptions>& options);

// Nothing: any text. Throws invalid for both, and naming the place, for a schema that would not be followed.
std::optional<Json> format_of_options(const FormOptions& options);

// Compiled for a model's tokens. thinking: a thought comes first, which is free. Throws invalid for what cannot be
// followed, or a model without tokenizer, and unsupported in a program that was built without XGrammar.
std::shared_ptr<const Constraint> constraint_of_options(const FormOptions& options, Json format, const TextModel& model,
                                                        bool thinking);

}  // namespace hadal
