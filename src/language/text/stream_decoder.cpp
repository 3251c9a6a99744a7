#include "text/stream_decoder.h"

#include <algorithm>

#include "base/utf8.h"

namespace hadal {

int64_t utf8_incomplete_suffix(std::string_view text) {
  const int64_t n = int64_t(text.size());
  for (int64_t back = 1; back <= std::min<int64_t>(3, n); ++back) {
    const auto first = static_cast<unsigned char>(text[n - back]);
    if ((first & 0xC0) == 0x80) continue;  // inside a character: its first byte is further left
    const int wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 1;
    if (wanted <= back) return 0;
    // Would some continuation make it well-formed? The lowest and highest one decide (E0, ED, F0, F4 are narrower).
    for (const char fill : {'\x80', '\x9F', '\xBF'}) {
      char whole[4] = {fill, fill, fill, fill};
      std::copy(text.end() - back, text.end(), whole);
      if (utf8_length(whole, whole + wanted) == wanted) return back;
    }
    return 0;
  }
  return 0;
}

std::string StreamDecoder::push(int32_t id) {
  const std::string_view bytes = tokenizer_->token_bytes(id);
  if (skip_special_ && tokenizer_->is_special(id)) return "";
  waiting_ += bytes;
  const auto keep = size_t(utf8_incomplete_suffix(waiting_));
  std::string out = waiting_.substr(0, waiting_.size() - keep);
  waiting_.erase(0, out.size());
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  out.swap(waiting_);
  return out;
}

std::string whole_text(const std::string& bytes) {
  if (utf8_valid_prefix(bytes) == int64_t(bytes.size())) return bytes;
  std::string text;
  for (size_t at = 0; at < bytes.size();) {
    const std::string_view rest = std::string_view(bytes).substr(at);
    if (const int length = utf8_length(rest.data(), rest.data() + rest.size()); length > 0) {
      text.append(rest.substr(0, size_t(length)));
      at += size_t(length);
      continue;
    }
    size_t broken = 1;
    for (size_t n = std::min<size_t>(3, rest.size()); n > 1; --n) {
      if (utf8_incomplete_suffix(rest.substr(0, n)) == int64_t(n)) {
        broken = n;
        break;
      }
    }
    append_utf8(text, 0xFFFD);
    at += broken;
  }
  return text;
}

}  // namespace hadal
