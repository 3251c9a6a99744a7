// The byte order mark before a text: that of UTF-8 says nothing and is passed over, another one says that the text is
// none that is read here. (Sources of training text are converted: data/text_stream.h.)
#pragma once
#include <string>
#include <string_view>

#include "base/error.h"

namespace hadal {

// `start` behind a mark of UTF-8. Throws invalid for one of UTF-16 or UTF-32; `origin` begins the message.
inline std::string_view behind_mark(std::string_view start, const std::string& origin) {
  using namespace std::string_view_literals;
  const bool wide = start.starts_with("\xFF\xFE\0\0"sv) || start.starts_with("\0\0\xFE\xFF"sv);
  const bool units = start.starts_with("\xFF\xFE"sv) || start.starts_with("\xFE\xFF"sv);
  check(!wide && !units, ErrorKind::invalid, "{}: is UTF-{}, UTF-8 was expected; convert it: iconv -f UTF-{} -t UTF-8",
        origin, wide ? 32 : 16, wide ? 32 : 16);
  return start.substr(start.starts_with("\xEF\xBB\xBF"sv) ? 3 : 0);
}

}  // namespace hadal
