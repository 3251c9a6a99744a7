#include "apps/form_options.h"

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "grammar/grammars.h"

namespace hadal {

void add_form_options(Verb verb, const std::shared_ptr<FormOptions>& o) {
  verb.add_option("--json-schema", o->schema_file, "a file with a JSON schema; the text is JSON that it describes")
      .on_value([o] { o->has_schema = true; });
  verb.add_option("--regex", o->regex, "the whole text matches this expression").on_value([o] { o->has_regex = true; });
}

std::optional<Json> format_of_options(const FormOptions& o) {
  check(!o.has_schema || !o.has_regex, ErrorKind::invalid,
        "--json-schema and --regex both say what the text must be; give one");
  if (o.has_regex) return format_of_regex(o.regex);
  if (!o.has_schema) return {};
  const JsonRules rules{.levels = 100, .unique_names = true, .kind = ErrorKind::invalid};
  return format_of_schema(parse_json<Json>(read_file(o.schema_file), o.schema_file, rules), o.schema_file);
}

std::shared_ptr<const Constraint> constraint_of_options(const FormOptions& o, Json format, const TextModel& model,
                                                        bool thinking) {
  const char* name = o.has_regex ? "--regex" : "--json-schema";
  check(model.tokenizer.has_value(), ErrorKind::invalid, "{} needs a tokenizer; {} has none", name,
        model.model.directory.string());
  if (thinking) format = format_after_thought(*model.tokenizer, std::move(format));
  try {
    return Grammars(*model.tokenizer).constraint(json_text(format));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid && error.kind() != ErrorKind::unsupported) throw;
    fail(error.kind(), "{} cannot be followed: {}", name, error.what());
  }
}

}  // namespace hadal
