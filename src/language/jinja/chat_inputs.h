// What a chat template is given, and what it gives: text in fragments, each the template's or the people's.
#pragma once
#include <cstdint>
#include <string>

namespace hadal {

struct ChatFragment {
  std::string text;
  bool from_template = false;
  bool generated = false;  // inside of {% generation %}
};

// What a template is given. JSON texts; an empty one counts as absent.
struct ChatInputs {
  std::string messages;          // a list of objects: role, content, tool_calls, ...
  std::string tools, documents;  // lists of objects; the template sees none where absent
  std::string variables;         // an object of further variables, e.g. {"enable_thinking": false}
  bool add_generation_prompt = false;
  bool drop_null_fields = false;  // leave out fields of messages that are null, as apply_chat_template does since
                                  // transformers 5
  bool text_parts = false;  // contents that are lists hold texts alone; they are joined for a template that cannot take
                            // lists: that fails with them, prints them as a list, or loses texts of theirs
  bool reasoning_names = false;  // "reasoning_content", "thinking" and "reasoning" are names of one thing
  int64_t clock = 0;             // what strftime_now shows: seconds since 1970 of the user's own calendar
};

}  // namespace hadal
