#include "jinja/marked_text.h"

#include <algorithm>

namespace hadal::jinja {

void MarkedText::append(std::string_view bytes, bool from_template, bool generated) {
  if (bytes.empty()) return;
  bytes_ += bytes;
  if (!stretches_.empty() && stretches_.back().from_template == from_template &&
      stretches_.back().generated == generated) {
    stretches_.back().end = bytes_.size();
  } else {
    stretches_.push_back({bytes_.size(), from_template, generated});
  }
}

void MarkedText::append(const MarkedText& text, size_t begin, size_t end) {
  if (&text == this) {
    append(MarkedText(text), begin, end);
    return;
  }
  auto stretch = std::upper_bound(text.stretches_.begin(), text.stretches_.end(), begin,
                                  [](size_t at, const Stretch& r) { return at < r.end; });
  for (; begin < end && stretch != text.stretches_.end(); ++stretch) {
    const size_t stop = std::min(end, stretch->end);
    append(std::string_view(text.bytes_).substr(begin, stop - begin), stretch->from_template, stretch->generated);
    begin = stop;
  }
}

int64_t MarkedText::n_characters() const { return character_of(bytes_.size()); }

size_t MarkedText::byte_of(int64_t character) const {
  if (character >= int64_t(bytes_.size())) return bytes_.size();
  size_t at = 0;
  for (; at < bytes_.size(); ++at) {
    if ((uint8_t(bytes_[at]) & 0xC0) != 0x80 && character-- == 0) break;
  }
  return at;
}

int64_t MarkedText::character_of(size_t byte) const {
  return std::count_if(bytes_.begin(), bytes_.begin() + int64_t(byte),
                       [](char c) { return (uint8_t(c) & 0xC0) != 0x80; });
}

MarkedText escaped_html(const MarkedText& text) {
  MarkedText out;
  text.for_each([&](std::string_view character, bool from_template) {
    const char c = character.size() == 1 ? character[0] : 0;
    out.append(c == '&'    ? "&amp;"
               : c == '<'  ? "&lt;"
               : c == '>'  ? "&gt;"
               : c == '\'' ? "&#39;"
               : c == '"'  ? "&#34;"
                           : character,
               from_template);
  });
  out.set_html();
  return out;
}

}  // namespace hadal::jinja
