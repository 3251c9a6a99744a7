// ChatText: takes a chat model's text apart as it comes: what it thought (<think> ... </think> at its beginning), what
// it says, and the tools that it calls in DeepSeek's two formats:
//   <|tool calls begin|><|tool call begin|>function<|tool sep|>NAME\n```json\n{...}\n```<|tool call end|> ... (V3, R1)
//   <|tool calls begin|><|tool call begin|>NAME<|tool sep|>{...}<|tool call end|> ...                       (V3.1)
// (in the tokens' own spelling, with fullwidth bars). Nothing is lost: a call that is not whole is content. What may
// still become a mark waits; the parts in order are the same however the text was cut.
#pragma once
#include <string>
#include <vector>

namespace hadal {

struct ChatPart {
  enum class Kind { reasoning, content, tool_call };
  Kind kind = Kind::content;
  std::string text;       // of a tool call its arguments, as the model wrote them
  std::string name = {};  // of the tool
};

class ChatText {
 public:
  // thinking: the prompt has opened <think> already. tools: the request offers some; without, calls are content.
  ChatText(bool thinking, bool tools) : state_(thinking ? State::thinking : State::start), tools_(tools) {}

  std::vector<ChatPart> push(const std::string& text);
  std::vector<ChatPart> finish();
  bool thinking() const { return state_ == State::thinking; }

 private:
  enum class State { start, thinking, speaking, calling };
  bool step(std::vector<ChatPart>& parts);  // false: needs more text
  bool begin(std::vector<ChatPart>& parts);
  bool speak(std::vector<ChatPart>& parts);
  bool call(std::vector<ChatPart>& parts);
  bool until(const std::string& mark, ChatPart::Kind kind, std::vector<ChatPart>& parts);

  State state_;
  bool tools_;
  std::string waiting_;
};

}  // namespace hadal
