#include "eval/reply_text.h"

#include <algorithm>

namespace hadal::eval {

ReplyText::ReplyText(const Tokenizer& tokenizer, const std::vector<int32_t>& stop, const Request& request)
    : tokenizer_(&tokenizer),
      stop_(stop),
      keeps_marks_(request.keeps_marks),
      decoder_(tokenizer, !request.keeps_marks) {
  for (const std::string& text : request.until)
    if (!text.empty()) until_.push_back(text), longest_until_ = std::max(longest_until_, text.size());
}

bool ReplyText::has_stop_text(size_t from) const {
  return std::any_of(until_.begin(), until_.end(),
                     [&](const std::string& text) { return text_.find(text, from) != std::string::npos; });
}

bool ReplyText::push(int32_t id) {
  ++n_tokens_;
  if (std::find(stop_.begin(), stop_.end(), id) != stop_.end()) {
    stopped_ = true;
    return false;
  }
  const size_t from = text_.size() < longest_until_ ? 0 : text_.size() - longest_until_;
  text_ += decoder_.push(id);
  stopped_ = has_stop_text(from);
  return !stopped_;
}

void ReplyText::clear() {
  decoder_ = StreamDecoder(*tokenizer_, !keeps_marks_);
  text_.clear();
  stopped_ = false, n_tokens_ = 0;
}

Reply ReplyText::reply() {
  text_ = whole_text(text_ + decoder_.finish());
  for (const std::string& text : until_) text_ = text_.substr(0, text_.find(text));
  return {.text = text_, .ended = stopped_, .n_tokens = n_tokens_};
}

}  // namespace hadal::eval
