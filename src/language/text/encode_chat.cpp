#include "text/encode_chat.h"

#include <string>

namespace hadal {

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const std::vector<ChatFragment>& fragments) {
  std::string text;
  std::vector<TextRange> ranges;
  for (const ChatFragment& fragment : fragments) {
    if (fragment.from_template) ranges.push_back({text.size(), text.size() + fragment.text.size()});
    text += fragment.text;
  }
  return tokenizer.encode_marked(text, ranges);
}

}  // namespace hadal
