#include "comm/layout.h"

#include <charconv>

#include "base/error.h"

namespace hadal {

Layout parse_layout(const std::string& text) {
  Layout layout;
  bool seen = false;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string item = text.substr(at, end - at);
    at = end + 1;
    const size_t equals = item.find('=');
    const std::string axis = item.substr(0, equals);
    check(equals != std::string::npos && axis == "dp", ErrorKind::invalid,
          "layout '{}': '{}' is no axis with its size; today there is dp, data ranks: dp=2", text, item);
    check(!seen, ErrorKind::invalid, "layout '{}' gives dp twice", text);
    seen = true;
    const char *begin = item.data() + equals + 1, *stop = item.data() + item.size();
    const auto [last, error] = std::from_chars(begin, stop, layout.dp);
    check(error == std::errc() && last == stop && layout.dp >= 1 && layout.dp <= 4096, ErrorKind::invalid,
          "layout '{}': dp must be a number in 1 .. 4096", text);
  }
  return layout;
}

std::string layout_text(const Layout& layout) { return fmt::format("dp={}", layout.dp); }

}  // namespace hadal
