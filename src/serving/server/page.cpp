#include "server/page.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "server/base64.h"
#include "server/embedded.h"

namespace hadal {
namespace {

// 'sha256-...' of what stands inside an element of the page.
std::string hash_of_element(std::string_view page, std::string_view name) {
  const std::string open = fmt::format("<{}>", name), close = fmt::format("</{}>", name);
  const size_t begin = page.find(open) + open.size(), end = page.find(close, begin);
  Sha256 hash;
  hash.update(page.substr(begin, end - begin));
  const auto digest = hash.digest();
  return to_base64({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

std::string policy() {
  return fmt::format(
      "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; "
      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      hash_of_element(kPage, "script"), hash_of_element(kPage, "style"));
}

}  // namespace

HttpAnswer page_answer() {
  static const std::string allowed = policy();
  return {.type = "text/html; charset=utf-8",
          .body = kPage,
          .fields = {{"Content-Security-Policy", allowed}, {"Referrer-Policy", "no-referrer"}}};
}

}  // namespace hadal
