#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "text/text_testing.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json_testing.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;
using testing::error_of;
using testing::from;
using testing::small_json;
using testing::TempDir;

std::vector<std::string> tokens_of(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<std::string> out;
  for (int32_t id : tokenizer.encode(text, SpecialTokens::parse)) out.emplace_back(tokenizer.token_bytes(id));
  return out;
}

using Tokens = std::vector<std::string>;

TEST(TokenizerFile, ReadsBothSpellingsOfMerges) {
  const Tokenizer tokenizer = from(small_json());
  EXPECT_EQ(tokenizer.vocab_size(), 259);
  EXPECT_EQ(tokens_of(tokenizer, "abcabd<end>"), (Tokens{"abc", "ab", "d", "<end>"}));
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
}

TEST(TokenizerFile, SavesWhatItLoadedByteForByte) {
  TempDir directory;
  const std::string text = json_text(small_json(), {.indent = 3}),
                    config = "{ \"eos_token\": {\"content\": \"<end>\"}, \"other\": [1, 2] }";
  const Tokenizer first = Tokenizer::from_json_text(text, config);
  EXPECT_EQ(first.eos_id(), 258);
  first.save(directory / "a b/ü");
  EXPECT_EQ(read_file(directory / "a b/ü/tokenizer.json"), text);
  EXPECT_EQ(read_file(directory / "a b/ü/tokenizer_config.json"), config);
  const Tokenizer again = Tokenizer::load(directory / "a b/ü");
  EXPECT_EQ(again.content_hash(), first.content_hash());
  EXPECT_EQ(again.eos_id(), 258);
  EXPECT_EQ(Tokenizer::load(directory / "a b/ü/tokenizer.json").content_hash(), first.content_hash());
}

TEST(TokenizerFile, KeepsATrainedTokenizerThroughSaveAndLoad) {
  TempDir directory;
  const Tokenizer trained = testing::small_tokenizer(700);
  trained.save(directory.path());
  const Tokenizer loaded = Tokenizer::load(directory.path());
  EXPECT_EQ(loaded.content_hash(), trained.content_hash());
  EXPECT_EQ(loaded.vocab_size(), trained.vocab_size());
  EXPECT_EQ(loaded.splits(), PreTokenizer::default_splits());
  EXPECT_EQ(loaded.eos_id(), 1);
  const std::string text = testing::random_text(8, 3000);
  EXPECT_EQ(loaded.encode(text), trained.encode(text));
}

TEST(TokenizerFile, LeavesNoConfigOfAnotherTokenizerBehind) {
  TempDir directory;
  testing::small_tokenizer(300).save(directory.path());
  from(small_json()).save(directory.path());
  EXPECT_EQ(Tokenizer::load(directory.path()).vocab_size(), 259);
}

TEST(TokenizerFile, ReadsThePreTokenizersOfOtherFamilies) {
  Json json = small_json();
  EXPECT_EQ(from(json).splits().size(), 1u);  // GPT-2's own expression
  json["pre_tokenizer"] = parse_json<Json>(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"String": "a.b"}, "behavior": "Isolated", "invert": false},
      {"type": "Digits", "individual_digits": true},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})",
                                           "pre_tokenizer");
  EXPECT_EQ(from(json).splits(), (std::vector<std::string>{"a\\.b", "\\p{N}"}));
}

TEST(TokenizerFile, TakesWholeWordsFirstWithIgnoreMerges) {
  Json json = small_json();
  json["model"]["vocab"]["xyz"] = 259;
  EXPECT_EQ(tokens_of(from(json), "xyz"), (Tokens{"x", "y", "z"}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(tokens_of(from(json), "xyz"), (Tokens{"xyz"}));
  EXPECT_EQ(tokens_of(from(json), "xyzz"), (Tokens{"x", "y", "z", "z"}));
}

TEST(TokenizerFile, FindsTheLeftmostThenLongestAddedToken) {
  Json json = small_json();
  json["added_tokens"].push_back({{"id", 259}, {"content", "<end>>"}, {"special", true}});
  json["added_tokens"].push_back({{"id", 260}, {"content", "nd>"}, {"special", true}});
  json["added_tokens"].push_back({{"id", 261}, {"content", "e<"}, {"special", false}, {"normalized", true}});
  EXPECT_EQ(tokens_of(from(json), "e<end>>nd>"),
            (Tokens{"e", "<end>>", "nd>"}));  // not normalized ones are found first
  EXPECT_EQ(tokens_of(from(json), "e<x"), (Tokens{"e<", "x"}));
}

TEST(TokenizerFile, ReadsTheModelsOf2019AndIgnoresATokenForTheUnknown) {
  Json json = small_json();
  json["model"].erase("type");
  json["model"]["unk_token"] = "<end>";
  EXPECT_EQ(tokens_of(from(json), "abcz"), (Tokens{"abc", "z"}));
}

TEST(TokenizerFile, SaysWhatItsTemplatePutsAroundAText) {
  Json json = small_json();
  EXPECT_TRUE(from(json).template_before().empty() && from(json).template_after().empty());
  EXPECT_FALSE(from(json, R"({"bos_token": "<end>"})").adds_bos());
  json["post_processor"] =
      parse_json<Json>(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "<t>", "type_id": 0}}],
      "special_tokens": {"<s>": {"ids": [258]}, "<t>": {"ids": [7, 8]}}}]})",
                       "post_processor");
  const Tokenizer tokenizer = from(json, R"({"bos_token": "<end>"})");
  EXPECT_EQ(std::vector<int32_t>(tokenizer.template_before().begin(), tokenizer.template_before().end()),
            (std::vector<int32_t>{258}));
  EXPECT_EQ(std::vector<int32_t>(tokenizer.template_after().begin(), tokenizer.template_after().end()),
            (std::vector<int32_t>{7, 8}));
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_FALSE(from(json, R"({"bos_token": "<end>", "add_bos_token": false})").adds_bos());
  EXPECT_FALSE(tokenizer.adds_eos());
  EXPECT_TRUE(from(json, R"({"eos_token": "<end>", "add_eos_token": true})").adds_eos());
  const std::string last(tokenizer.token_bytes(8));
  EXPECT_TRUE(from(json, json_text(Json{{"eos_token", last}})).adds_eos());
  EXPECT_NE(error_of([&] { from(json, R"({"add_bos_token": 1})"); }).find("not true or false"), std::string::npos);
  EXPECT_EQ(tokens_of(tokenizer, "ab"), (Tokens{"ab"}));  // encode itself adds nothing
}

TEST(TokenizerFile, HonoursSingleWordAndStrippingTokens) {
  Json json = small_json();
  json["added_tokens"].push_back({{"id", 259}, {"content", "<w>"}, {"special", true}, {"single_word", true}});
  json["added_tokens"].push_back({{"id", 260}, {"content", "<l>"}, {"special", true}, {"lstrip", true}});
  json["added_tokens"].push_back({{"id", 261}, {"content", "<r>"}, {"special", true}, {"rstrip", true}});
  const Tokenizer tokenizer = from(json);
  EXPECT_EQ(tokens_of(tokenizer, "<w>a"), (Tokens{"<", "w", ">", "a"}));
  EXPECT_EQ(tokens_of(tokenizer, "\u00e9<w>").size(), 5u);
  EXPECT_EQ(tokens_of(tokenizer, "-<w> "), (Tokens{"-", "<w>", " "}));
  EXPECT_EQ(tokens_of(tokenizer, "a \u2003<l> b"), (Tokens{"a", "<l>", " ", "b"}));
  EXPECT_EQ(tokens_of(tokenizer, "a <r>\t\u3000b"), (Tokens{"a", " ", "<r>", "b"}));
  EXPECT_EQ(tokens_of(tokenizer, "\xff<w>\xff"), (Tokens{"\xff", "<w>", "\xff"}));  // no characters, so no word
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a <l> b")), "a <l> b");              // as text nothing is lost
  json["added_tokens"].erase(3);
  EXPECT_NE(from(json).content_hash(), tokenizer.content_hash());
}

}  // namespace
}  // namespace hadal
