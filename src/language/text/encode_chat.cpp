#include "text/encode_chat.h"

#include <string>

namespace hadal {

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const std::vector<ChatPiece>& pieces) {
  std::string text;
  std::vector<TextRange> ranges;
  for (const ChatPiece& piece : pieces) {
    if (piece.from_template) ranges.push_back({text.size(), text.size() + piece.text.size()});
    text += piece.text;
  }
  return tokenizer.encode_marked(text, ranges);
}

}  // namespace hadal
