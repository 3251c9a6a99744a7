// tiktoken.model: the tokens, ids and words that it makes, and what is refused by name. Ids on much text against
// tiktoken: tokenizer_released_peer_test.cpp.
#include "text/tiktoken_model.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/expect_error.h"
#include "base/files.h"
#include "base/testing.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace hadal {
namespace {

using Ids = std::vector<int32_t>;
using testing::error_of;

std::string base64(const std::string& bytes) {
  static const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t k = 0; k < 3; ++k) three = three << 8 | (i + k < bytes.size() ? uint8_t(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : kDigits[three >> (18 - 6 * k) & 63];
  }
  return out;
}

// The 256 bytes, then these.
std::string ranks(const std::vector<std::string>& more = {}) {
  std::string text;
  for (int b = 0; b < 256; ++b) text += fmt::format("{} {}\n", base64(std::string(1, char(b))), b);
  for (size_t i = 0; i < more.size(); ++i) text += fmt::format("{} {}\n", base64(more[i]), 256 + i);
  return text;
}

const char* const kConfig = R"({"tokenizer_class": "TikTokenTokenizer", "bos_token": "[BOS]", "eos_token": "[EOS]",
  "added_tokens_decoder": {"260": {"content": "[BOS]", "special": true}, "261": {"content": "[EOS]", "special": true},
                           "263": {"content": "<|tool|>", "special": false, "normalized": true}}})";

Tokenizer make(const std::string& model, const std::string& config = kConfig) {
  TokenizerFiles files;
  files.tiktoken = model;
  if (!config.empty()) files.config = config;
  return Tokenizer::from_files(std::move(files));
}

TEST(TiktokenModel, MergesByRankAndTakesWholeWords) {
  const Tokenizer tokenizer = make(ranks({"ab", "bc", "abc", " the"}));
  EXPECT_EQ(tokenizer.encode("ab"), (Ids{256}));
  EXPECT_EQ(tokenizer.encode("abcbc"), (Ids{258, 257}));  // ab before bc
  EXPECT_EQ(tokenizer.encode(" the"), (Ids{259}));        // no merges lead to it: as a whole word only
  EXPECT_EQ(tokenizer.encode(" them"), (Ids{' ', 't', 'h', 'e', 'm'}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("\xff\xfe abc\n")), "\xff\xfe abc\n");
}

TEST(TiktokenModel, OfRanksOutOfOrderMergesTheLeftmostOfTheLowest) {
  // "aba" comes about in two ways; "ababa" holds both, of one rank, over each other
  const Tokenizer tokenizer = make(ranks({"aba", "ab", "ba", "zz"}));
  EXPECT_EQ(tokenizer.encode("aba"), (Ids{256}));
  EXPECT_EQ(tokenizer.encode("ababa"), (Ids{256, 258}));
  EXPECT_EQ(tokenizer.encode("cababa"), (Ids{'c', 256, 258}));
}

TEST(TiktokenModel, HasNamedAndReservedTokensBehindTheRanks) {
  const Tokenizer tokenizer = make(ranks({"ab", "bc", "abc", "cd"}));
  EXPECT_EQ(tokenizer.vocab_size(), 260 + 256);
  EXPECT_EQ(tokenizer.rows_needed(), 264);  // what is reserved behind the last named one needs no row
  EXPECT_EQ(tokenizer.bos_id(), 260);
  EXPECT_EQ(tokenizer.eos_id(), 261);
  EXPECT_EQ(tokenizer.find_token("<|reserved_token_262|>"), 262);
  EXPECT_EQ(tokenizer.encode("[BOS]a<|tool|><|reserved_token_400|>", SpecialTokens::parse), (Ids{260, 'a', 263, 400}));
  EXPECT_EQ(tokenizer.decode(Ids{260, 'a', 263, 262}, true), "a<|tool|>");
  EXPECT_FALSE(tokenizer.adds_bos());
}

TEST(TiktokenModel, SplitsHanFromOtherLettersAndContractionsWithTheirWord) {
  const Tokenizer tokenizer = make(ranks());
  EXPECT_EQ(tokenizer.splits(), std::vector<std::string>{kimi_split()});
  const PreTokenizer split({kimi_split()});
  EXPECT_EQ(split.words("Don'T世界 abc12345"), (std::vector<std::string>{"Don'T", "世界", " abc", "123", "45"}));
  EXPECT_EQ(split.words("camelCase ABC、あ中"), (std::vector<std::string>{"camel", "Case", " ABC", "、あ", "中"}));
}

TEST(TiktokenModel, LoadsFromADirectoryAndIsSavedWithItsFiles) {
  testing::TempDir from, to;
  atomic_write(from / "tiktoken.model", ranks({"ab", "bc", "abc", "cd"}));
  EXPECT_NE(error_of([&] { Tokenizer::load(from.path()); }).find("tokenizer_config.json"), std::string::npos);
  atomic_write(from / "tokenizer_config.json", kConfig);
  EXPECT_TRUE(Tokenizer::is_in(from.path()));
  const Tokenizer tokenizer = Tokenizer::load(from.path());
  atomic_write(to / "tokenizer.json", "another's");
  atomic_write(to / "added_tokens.json", "another's");
  tokenizer.save(to.path());
  EXPECT_FALSE(std::filesystem::exists(to / "tokenizer.json"));
  EXPECT_FALSE(std::filesystem::exists(to / "added_tokens.json"));
  EXPECT_EQ(read_file(to / "tiktoken.model"), read_file(from / "tiktoken.model"));
  EXPECT_EQ(Tokenizer::load(to / "tiktoken.model").content_hash(), tokenizer.content_hash());
}

TEST(TiktokenModel, OfAClassThatSaysNothingHasNoReservedTokensAndGetsTheNamedOnesBehindTheOthers) {
  const Tokenizer tokenizer =
      make(ranks({"ab"}), R"({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"})");
  EXPECT_EQ(tokenizer.vocab_size(), 259);
  EXPECT_EQ(tokenizer.bos_id(), 257);
  EXPECT_EQ(tokenizer.eos_id(), 258);
}

TEST(TiktokenModel, RefusesWhatItDoesNotKnowByName) {
  const auto says = [](const std::string& model, const std::string& config, const std::string& part) {
    const std::string message = error_of([&] { make(model, config); });
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
  };
  says(ranks(), R"({"tokenizer_class": "QWenTokenizer"})", "'QWenTokenizer'");
  says(ranks(), R"({"tokenizer_class": "TikTokenTokenizer", "bos_token": "<s>"})", "bos_token '<s>'");
  says(ranks(), R"({"added_tokens_decoder": {"7": {"content": "<s>"}}})", "'<s>' has the id 7");
  says(ranks(), R"({"added_tokens_decoder": {"900000": {"content": "<s>"}}})", "900000");
  says(ranks(), R"({"added_tokens_decoder": {"x": {"content": "<s>"}}})", "'x' is no id");
  says("", kConfig, "no token");
  says("YQ== 0\nYg==\n", kConfig, "line 2 is 'Yg=='");
  says("YQ= 0\n", kConfig, "line 1 is 'YQ= 0'");
  says("Y!== 0\n", kConfig, "line 1");
  says("YQ== 0 1\n", kConfig, "line 1");
  says("YQ== -1\n", kConfig, "rank -1");
  says("YQ== 99999999\n", kConfig, "rank 99999999");
  says("YQ== 0\nYg== 2\n", kConfig, "no token has the rank 1");
  says("YQ== 0\nYg== 0\n", kConfig, "more than one token has the rank 0");
  says("YQ== 0\nYQ== 1\n", kConfig, "the ranks 0 and 1 belong to the same token");
  says("YQ== 0\n", kConfig, "byte 0x00");
}

}  // namespace
}  // namespace hadal
