// Chats' ids beside transformers' apply_chat_template.
#include <gtest/gtest.h>

#include <optional>

#include "jinja/chat_cases.h"
#include "text/encode_chat.h"

namespace hadal {
namespace {

using testing::inputs_of;
using testing::Json;
using testing::peer_cases;
using testing::special_tokens;

TEST(EncodeChatPeer, ChatsGiveTheIdsOfTransformersWithTheRealDeepSeekTokenizer) {
  const std::vector<Json> cases = peer_cases("ids");
  EXPECT_GE(cases.size(), 150u);
  std::optional<Tokenizer> tokenizer;
  int compared = 0;
  for (const Json& one : cases) {
    if (one["ids"].is_null()) continue;
    if (!tokenizer) tokenizer = Tokenizer::load(one["directory"]);
    const ChatTemplate chat = ChatTemplate::parse(one["source"].get<std::string>(), special_tokens(one));
    ASSERT_EQ(encode_chat(*tokenizer, chat.render(inputs_of(one))), one["ids"].get<std::vector<int32_t>>())
        << one["name"];
    ++compared;
  }
  EXPECT_GE(compared, 120);
}

}  // namespace
}  // namespace hadal
