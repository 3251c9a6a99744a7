// The chat template of DeepSeek-V3, for models that come without one:
//   BOS system <｜User｜> question <｜Assistant｜> answer EOS <｜User｜> ...      nothing between the parts
// System (and developer) messages stand in front, two line ends between them; tool calls and results between their own
// tokens. An answer's thought, <think> ... </think> in its content or reasoning_content, is written where the answer is
// the last message, and left out of earlier ones.
#pragma once
#include <string_view>

namespace hadal {

std::string_view report_chat_template();

}  // namespace hadal
