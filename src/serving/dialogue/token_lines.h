// TokenLines: the input of verbs that read one text a line: JSON objects {"tokens": [ids]} or {"text": "..."}.
#pragma once
#include <fstream>
#include <istream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/interrupt.h"
#include "dialogue/text_model.h"

namespace hadal {

struct TokenLine {
  std::vector<int32_t> tokens;  // at least one; for a text with what stands before it
  bool is_text = false;
  int64_t text_bytes = 0;
  int64_t replaced = 0;  // escapes of lone surrogates in the text, which became U+FFFD
};

class TokenLines {
 public:
  // "-" is standard input. Throws not_found or invalid, before any work, for a file that cannot be read.
  explicit TokenLines(std::string path);
  // Which ids, positions and tokenizer hold from now on. Without any_length a line that needs more positions than the
  // model has is refused.
  void begin(const TextModel& model, const std::string& bos, bool any_length = false);
  std::optional<TokenLine> next();  // skips empty lines; throws invalid naming the line; io when interrupted

  std::string where() const;  // of the line that next() gave: "FILE: line N"

 private:
  TokenLine parse(const std::string& line) const;

  std::string path_;
  std::ifstream file_;
  std::istream* in_;
  int64_t number_ = 0;
  const TextModel* model_ = nullptr;
  bool any_length_ = false;
  std::vector<int32_t> start_;       // before a text
  std::optional<CleanStop> polled_;  // while the caller works on a line, not while the next one is awaited
};

}  // namespace hadal
