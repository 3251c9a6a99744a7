// The messages of a chat as a template sees them: plain roles are the template's words, null fields may go, the names
// of reasoning may be filled in from one another, and lists of text parts may be joined.
#pragma once
#include <string>
#include <vector>

#include "jinja/chat_inputs.h"
#include "jinja/value.h"

namespace hadal::jinja {

class ChatMessages {
 public:
  // Errors (invalid): not a list of objects; with text_parts, contents with other parts than texts, the message named.
  explicit ChatMessages(const ChatInputs& inputs);

  Value as_given() const;
  Value with_joined_parts() const;
  bool has_text_parts() const { return !texts_.empty(); }
  size_t missing_texts(const std::string& rendered) const;  // how many texts of parts it does not hold

 private:
  Value one_message(const DictData& message, const ChatInputs& inputs, size_t number);
  Value content_of(const Value& content, size_t number);

  std::vector<Value> messages_, joined_;
  std::vector<std::string> texts_;  // of all parts, without white space around
};

}  // namespace hadal::jinja
