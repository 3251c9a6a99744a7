// Text inside of an HTML page or attribute: the four characters that mean something there are written as entities.
#pragma once
#include <string>
#include <string_view>

namespace hadal {

std::string html_escape(std::string_view text);

}  // namespace hadal
