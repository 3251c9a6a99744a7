#include "text/stream_decoder.h"

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "text/text_testing.h"

namespace hadal {
namespace {

TEST(StreamDecoder, GivesTheSameBytesAsTheWholeDecode) {
  const Tokenizer tokenizer = testing::small_tokenizer();
  for (uint64_t seed = 0; seed < 100; ++seed) {
    std::vector<int32_t> ids;  // any ids, so that characters are torn in every way
    for (uint64_t i = 0; i < 60; ++i)
      ids.push_back(int32_t(random_below(seed, 3, i, uint64_t(tokenizer.vocab_size()))));
    for (bool skip : {false, true}) {
      StreamDecoder stream(tokenizer, skip);
      std::string text;
      for (int32_t id : ids) text += stream.push(id);
      text += stream.finish();
      ASSERT_EQ(text, tokenizer.decode(ids, skip));
    }
  }
}

TEST(StreamDecoder, NeverTearsACharacter) {
  const Tokenizer tokenizer = testing::small_tokenizer(267);  // bytes alone
  const std::string text = testing::random_text(5, 500);
  StreamDecoder stream(tokenizer);
  for (int32_t id : tokenizer.encode(text)) {
    const std::string shown = stream.push(id);
    ASSERT_EQ(utf8_valid_prefix(shown), int64_t(shown.size()));
  }
  EXPECT_EQ(stream.finish(), "");
}

TEST(StreamDecoder, WaitsOnlyForBytesThatCanStillBecomeACharacter) {
  EXPECT_EQ(utf8_incomplete_suffix("abc"), 0);
  EXPECT_EQ(utf8_incomplete_suffix("a\xe4"), 1);
  EXPECT_EQ(utf8_incomplete_suffix("a\xe4\xb8"), 2);
  EXPECT_EQ(utf8_incomplete_suffix("a\xe4\xb8\xad"), 0);
  EXPECT_EQ(utf8_incomplete_suffix("\xf0\x9f\x98"), 3);
  EXPECT_EQ(utf8_incomplete_suffix("\xed\xa0"), 0);  // a surrogate's beginning
  EXPECT_EQ(utf8_incomplete_suffix("\xed\x9f"), 2);
  EXPECT_EQ(utf8_incomplete_suffix("\xe0\x80"), 0);  // overlong
  EXPECT_EQ(utf8_incomplete_suffix("\xe0\xa0"), 2);
  EXPECT_EQ(utf8_incomplete_suffix("\xf0\x90"), 2);
  EXPECT_EQ(utf8_incomplete_suffix("\xf4\x8f"), 2);
  EXPECT_EQ(utf8_incomplete_suffix("\xf4\x90"), 0);  // above U+10FFFF
  EXPECT_EQ(utf8_incomplete_suffix("\xc0"), 0);
  EXPECT_EQ(utf8_incomplete_suffix("\xff"), 0);
  EXPECT_EQ(utf8_incomplete_suffix("\x80\x80\x80"), 0);
}

TEST(StreamDecoder, IsFreshAfterFinish) {
  const Tokenizer tokenizer = testing::small_tokenizer(267);
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.push(*tokenizer.find_token("\xe4")), "");
  EXPECT_EQ(stream.finish(), "\xe4");
  EXPECT_EQ(stream.push(*tokenizer.find_token("a")), "a");
}

TEST(StreamDecoder, RefusesAnUnknownId) {
  const Tokenizer tokenizer = testing::small_tokenizer(300);
  StreamDecoder stream(tokenizer);
  EXPECT_NE(testing::error_of([&] { stream.push(300); }).find("token id 300"), std::string::npos);
}

}  // namespace
}  // namespace hadal
