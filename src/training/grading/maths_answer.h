// The answer in a text that was written to a mathematical question: what stands in the last \boxed{...} behind the
// thought, else behind the last "answer is".
#pragma once
#include <string>
#include <string_view>

#include "grading/extracted.h"

namespace hadal::grading {

// Of the part behind the last </think>: the last \boxed or \fbox with balanced braces; none where it stands beside
// another one with nothing but "or" between them (two answers are none). Without a box what follows the last "answer
// is" up to the end of its line or sentence. Else nothing is found.
Extracted extract_maths(std::string_view text);

}  // namespace hadal::grading
