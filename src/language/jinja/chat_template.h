// Chat templates: the Jinja programs of Hugging Face model directories that turn a list of messages into text.
//
// A bounded interpreter of the subset that such templates use, with the settings of transformers (trim_blocks,
// lstrip_blocks, break and continue, {% generation %}, its own tojson, raise_exception, strftime_now, the immutable
// sandbox):
//   text, {{ }}, {# #}, {% raw %}; if, for (with filter, else, recursive; loop.*), set (blocks, namespaces), macro,
//   call, block, with, filter, generation; all operators and literals; the methods of str, list and dict and the
//   filters and tests that find_filter and find_test know; text that is `safe` escapes what is joined to it.
// What is not known fails by name when it is reached, not before: other templates (include, import, extends), filters,
// tests, methods. It differs from Jinja in this: integers end at 127 bits; what a generator yields is computed at once;
// namespaces, loops, functions and ranges cannot be printed; a variable of the caller stays visible in loops and macros
// above the line that sets it again.
//
// The law of control tokens: a rendered chat is a list of fragments, each written by the template (its literals, the
// tokenizer's own special tokens, numbers) or by people (every string of the messages, tools, documents and variables).
// encode_chat (text/encode_chat.h) parses added tokens only inside the template's fragments: no text of a message can
// become a control token, whatever the template does with it. One exception makes templates work that write
// '<|' + message.role + '|>': the role of a message counts as the template's where it is a plain word (letters, digits,
// '_').
//
// Errors name the line: corrupt (not a template), unsupported (a part of Jinja that is not offered), invalid (a limit
// was met, the messages do not fit the template, or it raised an exception).
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/chat_inputs.h"
#include "jinja/limits.h"

namespace hadal {

class ChatTemplate {
 public:
  // special_tokens: variables such as bos_token; the template may write them as control tokens.
  static ChatTemplate parse(std::string_view source, std::map<std::string, std::string> special_tokens = {},
                            const ChatLimits& limits = {});
  // A template of single texts (TemplateStyle::text), for render_variables().
  static ChatTemplate parse_text(std::string_view source, const ChatLimits& limits = {});
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // May be called from any number of threads at once. Neighbouring fragments differ in a mark; none is empty.
  std::vector<ChatFragment> render(const ChatInputs& inputs) const;

  // The same with nothing but these variables (a JSON object) and the special tokens: for templates of another kind.
  std::vector<ChatFragment> render_variables(std::string_view variables, int64_t clock = 0) const;

 private:
  struct State;
  static ChatTemplate parse_as(std::string_view source, const ChatLimits& limits, TemplateStyle style);
  explicit ChatTemplate(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

std::string chat_text(const std::vector<ChatFragment>& fragments);

}  // namespace hadal
