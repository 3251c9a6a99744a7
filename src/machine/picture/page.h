// The head of a page of charts: one HTML file without external requests, light and dark as its reader has it.
#pragma once
#include <string>

namespace hadal {

std::string page_head(const std::string& title);  // up to <body>; whoever writes a page closes it

}  // namespace hadal
