// libFuzzer: any text as an expression, or as a grammar, that an answer must follow: what the compiler makes of it can
// be followed.
// room: grammar
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/utf8.h"
#include "follow.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hadal;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (utf8_valid_prefix(text) != int64_t(text.size())) return 0;  // JSON brings no other
  try {
    if (data[0] % 2 == 0)
      follow({{"type", "regex"}, {"pattern", text}});
    else
      follow({{"type", "grammar"}, {"grammar", text}});
  } catch (const Error&) {
  }
  return 0;
}
