// libFuzzer: any bytes as JSON of other people. What the strict reader takes is taken, with the same text; what is
// taken becomes JSON that the strict reader takes; and both ways to a string's content agree.
// room: base
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/json_members.h"

namespace {

using namespace hadal;

bool strict(const std::string& json, nlohmann::json& out) {
  try {
    out = parse_json(json, "fuzzed");
    return true;
  } catch (const Error&) {
    return false;
  }
}

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string json(reinterpret_cast<const char*>(data), size);
  std::string_view whole;
  std::string text, later;
  JsonMember members[] = {{"text", &text}, {"tokens"}};
  const JsonFault fault = read_json_members(json, whole, members);
  nlohmann::json parsed;
  if (strict(json, parsed)) {
    // A BOM, which our readers of files pass over, and a NUL, which ends the text for the library.
    const bool odd = json.starts_with("\xEF\xBB\xBF") || json.find('\0') != std::string::npos;
    require(odd || !fault);
    if (!odd && parsed.is_object() && parsed.contains("text")) {
      require(parsed["text"].is_string() == members[0].is_string());
      if (members[0].is_string()) require(parsed["text"].get_ref<const std::string&>() == text);
    }
  }
  if (fault) {
    require(!fault.text().empty());
    return 0;
  }
  if (members[0].is_string()) require(json_string(members[0].text, later) == members[0].replaced && later == text);
  if (whole.front() == '{') json_member_names(whole);
  int64_t replaced = 0;
  require(nests_deeper_than(whole, 64) || strict(strict_json(json, replaced), parsed));
  return 0;
}
