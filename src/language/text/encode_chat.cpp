#include "text/encode_chat.h"

#include <string>

namespace hadal {

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, const std::vector<ChatFragment>& fragments) {
  std::string text;
  std::vector<TextRange> ranges;
  for (const ChatFragment& fragment : fragments) {
    const size_t begin = text.size();
    text += fragment.text;
    if (!fragment.from_template) continue;
    if (!ranges.empty() && ranges.back().end == begin)  // the border of a {% generation %} cuts no token
      ranges.back().end = text.size();
    else
      ranges.push_back({begin, text.size()});
  }
  return tokenizer.encode_marked(text, ranges);
}

}  // namespace hadal
