// How far a template may go before it is refused: a chat template comes with a downloaded model and is a program.
#pragma once
#include <cstdint>

namespace hadal {

// How a template is read. chat: as transformers sets Jinja for chat templates. text: as Jinja itself is, for templates
// of single texts (tasks of evaluation): tags take no white space that they were not told to take, the last line end
// stays, and what is not defined may be tested and replaced, but neither printed, compared nor walked through.
enum class TemplateStyle : uint8_t { chat, text };

struct ChatLimits {
  int64_t source_bytes = 1 << 20;  // of the template
  int64_t parse_depth = 300;       // nested brackets, operators and blocks
  int64_t run_depth = 1000;        // the same at run time, through macros that call each other
  int64_t steps = 20'000'000;      // nodes visited, items and characters looked at
  int64_t text_bytes = 64 << 20;   // of one string, so of the output
  int64_t work_bytes = 512 << 20;  // of all strings and lists made on the way
};

}  // namespace hadal
