// The model that a verb asks: how its texts begin and end, and its form for chats.
#pragma once
#include <string>

#include "dialogue/text_model.h"
#include "eval/ask.h"

namespace hadal::eval {

// bos as text_start(). `loaded` must outlive what is returned. The form of chats is the directory's template; of a
// model without one, V3's own (BOS system <｜User｜>question<｜Assistant｜>answer EOS) where its tokenizer has those
// tokens.
// V3's own form of chats, for models that are in no directory yet; empty where the tokenizer lacks its tokens.
// start: what stands before a text where the tokenizer has no BOS.
ChatForm report_chat_form(const Tokenizer& tokenizer, std::vector<int32_t> start);

AskedModel asked_model(const Exec& exec, const TextModel& loaded, const std::string& bos = "auto");

}  // namespace hadal::eval
