// What the library says of a format while it reads it. It was built to hand its log to us (cmake/xgrammar).
#pragma once
#include <string>

namespace hadal {

// The first warning since clear_warnings(), of this thread; empty: none. A warning is a part of a format that the
// library would ignore.
std::string first_warning();
void clear_warnings();

}  // namespace hadal
