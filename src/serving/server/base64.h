// Base64 (RFC 4648): bytes in letters.
#pragma once
#include <string>
#include <string_view>

namespace hadal {

std::string to_base64(std::string_view bytes);
std::string from_base64(std::string_view text);  // empty for what is none

}  // namespace hadal
