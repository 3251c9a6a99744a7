// The text of a reply while its tokens come: decoded, ended at the first stop text, and cut there.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "eval/task.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace hadal::eval {

class ReplyText {
 public:
  // `stop`: ids that end a text. Control tokens are left out of it unless the request keeps them.
  ReplyText(const Tokenizer& tokenizer, const std::vector<int32_t>& stop, const Request& request);
  bool push(int32_t id);  // false: the text has ended
  void clear();           // all that came is void
  int64_t n_tokens() const { return n_tokens_; }
  // Cut at each of `until` in its order, as lm-eval does.
  Reply reply();

 private:
  bool has_stop_text(size_t from) const;

  const Tokenizer* tokenizer_;
  std::vector<int32_t> stop_;
  std::vector<std::string> until_;
  bool keeps_marks_;
  size_t longest_until_ = 0;
  StreamDecoder decoder_;
  std::string text_;
  bool stopped_ = false;
  int64_t n_tokens_ = 0;
};

}  // namespace hadal::eval
