// libFuzzer: any JSON as a schema. What the check takes it takes again, unchanged; what the compiler makes of it can be
// followed.
// room: grammar
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "follow.h"
#include "grammar/schema_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  using Json = nlohmann::ordered_json;
  try {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const auto schema = parse_json<Json>(text, "fuzzed", {.levels = 100, .unique_names = true});
    const Json checked = checked_schema(schema, "schema");
    if (checked_schema(checked, "schema") != checked) std::abort();
    follow({{"type", "json_schema"}, {"json_schema", checked}, {"max_whitespace_cnt", 2}});
  } catch (const Error&) {
  }
  return 0;
}
