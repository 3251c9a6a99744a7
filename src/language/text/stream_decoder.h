// Decoding token by token for a screen or a network: gives out only whole characters. Bytes that may still become a
// character wait (at most three); bytes that cannot are given out as they are. All outputs and finish() in order are
// exactly Tokenizer::decode of all ids.
#pragma once
#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace hadal {

class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = false)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {}

  std::string push(int32_t id);  // what can be shown now; often empty in the middle of a character
  std::string finish();          // what still waits; the decoder is then fresh

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string waiting_;
};

// Number of bytes at the end of `text` that begin a well-formed UTF-8 character without completing it (0..3).
int64_t utf8_incomplete_suffix(std::string_view text);

// What is no UTF-8 becomes U+FFFD, one for each longest beginning of a character, as Python does it.
std::string whole_text(const std::string& bytes);

}  // namespace hadal
