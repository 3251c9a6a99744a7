// Tokens and settings beside tokenizer.json: which file goes before which, and what is refused by name. Against
// transformers: tokenizer_settings_peer_test.cpp.
#include "text/tokenizer_settings.h"

#include <gtest/gtest.h>

#include "base/testing.h"
#include "text/tokenizer_json_testing.h"

namespace hadal {
namespace {

using Ids = std::vector<int32_t>;
using testing::error_of;

// Ids 0 .. 257 are the bytes, "ab" and "abc"; 258 is the special token <end>.
Tokenizer with(const std::string& config, const std::string& special_map = "", const std::string& added = "") {
  TokenizerFiles files;
  files.json = json_text(testing::small_json());
  if (!config.empty()) files.config = config;
  if (!special_map.empty()) files.special_map = special_map;
  if (!added.empty()) files.added = added;
  return Tokenizer::from_files(std::move(files));
}

Ids parsed(const Tokenizer& tokenizer, const std::string& text) { return tokenizer.encode(text, SpecialTokens::parse); }

TEST(TokenizerSettings, TokensOfTheConfigurationAreTokens) {
  const Tokenizer tokenizer = with(R"({"added_tokens_decoder": {
      "258": {"content": "<end>", "special": false, "lstrip": true, "normalized": false},
      "260": {"content": "<b>", "special": true}, "259": {"content": "<a>"}}})");
  EXPECT_EQ(tokenizer.vocab_size(), 261);
  EXPECT_EQ(parsed(tokenizer, "ab <end><a><b>"), (Ids{256, 258, 259, 260}));  // the blank belongs to <end> now
  EXPECT_FALSE(tokenizer.is_special(258));
  EXPECT_FALSE(tokenizer.is_special(259));
  EXPECT_TRUE(tokenizer.is_special(260));
}

TEST(TokenizerSettings, NamedTokensThatAreNoneYetBecomeTokens) {
  const Tokenizer tokenizer = with(R"({"bos_token": "<s>", "eos_token": "ab", "pad_token": {"content": "<end>"},
      "additional_special_tokens": ["<x>"], "think_token": "<t>"})");
  EXPECT_EQ(tokenizer.bos_id(), 259);
  EXPECT_EQ(tokenizer.eos_id(), 256);  // the vocabulary's own, special from now on
  EXPECT_TRUE(tokenizer.is_special(256));
  EXPECT_EQ(tokenizer.pad_id(), 258);
  EXPECT_EQ(tokenizer.find_token("<t>"), 260);
  EXPECT_EQ(tokenizer.find_token("<x>"), 261);
}

TEST(TokenizerSettings, TheMapGoesBeforeTheConfigurationUnlessThatHasADecoder) {
  const std::string map =
      R"({"bos_token": {"content": "<a>", "lstrip": true}, "eos_token": "<end>", "pad_token": null})";
  const Tokenizer mapped = with(R"({"bos_token": "<end>", "pad_token": "<end>"})", map);
  EXPECT_EQ(mapped.bos_id(), mapped.find_token("<a>"));
  EXPECT_EQ(mapped.eos_id(), 258);
  EXPECT_FALSE(mapped.pad_id());
  const Tokenizer decoded = with(R"({"bos_token": "<end>", "added_tokens_decoder": {}})", map, R"({"<f>": 259})");
  EXPECT_EQ(decoded.bos_id(), 258);
  EXPECT_EQ(decoded.vocab_size(), 259);
}

TEST(TokenizerSettings, AddedTokensFileAddsTokens) {
  const Tokenizer tokenizer = with(R"({"eos_token": "<e>"})", "", R"({"<e>": 260, "<f>": 259})");
  EXPECT_EQ(tokenizer.eos_id(), 260);
  EXPECT_TRUE(tokenizer.is_special(260));
  EXPECT_FALSE(tokenizer.is_special(259));
  EXPECT_EQ(parsed(tokenizer, "<f><e>"), (Ids{259, 260}));
}

TEST(TokenizerSettings, ChangeTheHashOfTheContent) {
  const std::string plain = with("").content_hash();
  EXPECT_EQ(with(R"({"eos_token": "<end>"})").content_hash(), plain);
  EXPECT_NE(with(R"({"eos_token": "<e>"})").content_hash(), plain);
}

TEST(TokenizerSettings, AreSavedAndReadAgain) {
  testing::TempDir directory;
  const Tokenizer tokenizer = with(R"({"eos_token": "<e>"})", R"({"bos_token": "<s>"})", R"({"<f>": 259})");
  tokenizer.save(directory.path());
  const Tokenizer again = Tokenizer::load(directory.path());
  EXPECT_EQ(again.content_hash(), tokenizer.content_hash());
  EXPECT_EQ(again.bos_id(), tokenizer.bos_id());
  EXPECT_EQ(again.files(), tokenizer.files());
}

TEST(TokenizerSettings, RefuseByName) {
  const auto says = [](const std::string& config, const std::string& map, const std::string& added,
                       const std::string& part) {
    const std::string message = error_of([&] { with(config, map, added); });
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
  };
  says(R"({"added_tokens_decoder": {"300": {"content": "<a>"}}})", "", "", "'<a>' the id 300, but ids end at 258");
  says("", "", R"({"<a>": 300})", "'<a>' the id 300, but ids end at 258");
  says(R"({"added_tokens_decoder": []})", "", "", "no object of ids");
  says(R"({"added_tokens_decoder": {"1x": {"content": "<a>"}}})", "", "", "'1x' is no id");
  says(R"({"added_tokens_decoder": {"-1": {"content": "<a>"}}})", "", "", "the id -1");
  says(R"({"added_tokens_decoder": {"259": {"special": true}}})", "", "", "no text \"content\"");
  says(R"({"added_tokens_decoder": {"259": {"content": "<a>", "special": 1}}})", "", "", "not true or false");
  says(R"({"added_tokens_decoder": {"259": "<a>"}})", "", "", "not an object");
  says(R"({"eos_token": 7})", "", "", "\"eos_token\" is 7");
  says("", R"({"eos_token": ["<a>"]})", "", "special_tokens_map.json: \"eos_token\"");
  says(R"({"additional_special_tokens": "<a>"})", "", "", "not a list of tokens");
  says(R"({"extra_special_tokens": [1]})", "", "", "is 1, not the name of a token");
  says("", "{", "", "special_tokens_map.json");
  says("", "", R"({"<a>": "x"})", "added_tokens.json");
  says("", "", R"({"<a>": 259, "<b>": 259})", "two tokens have the id 259");
  says(R"({"tokenizer_class": 3})", "", "", "tokenizer_class");
}

}  // namespace
}  // namespace hadal
