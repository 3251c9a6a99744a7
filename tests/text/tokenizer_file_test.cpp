#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "tests/text/text_testing.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace hadal {
namespace {

using Json = nlohmann::ordered_json;
using testing::error_of;
using testing::TempDir;

// A valid file with 256 bytes, two merges (a b, ab c) and one added token.
Json small_json() {
  Json vocab, merges = Json::array();
  int id = 0;
  for (uint8_t byte : byte_alphabet().in_order) vocab[byte_alphabet().write(std::string(1, char(byte)))] = id++;
  vocab["ab"] = id++;
  vocab["abc"] = id++;
  merges.push_back("a b");
  merges.push_back({"ab", "c"});
  Json json;
  json["version"] = "1.0";
  json["added_tokens"] = {{{"id", id}, {"content", "<end>"}, {"special", true}, {"normalized", false}}};
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  json["decoder"] = {{"type", "ByteLevel"}};
  json["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}};
  return json;
}

Tokenizer from(const Json& json, const std::string& config = "") { return Tokenizer::from_json_text(json.dump(), config); }

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
  const std::string text = small_json().dump(3), config = "{ \"eos_token\": {\"content\": \"<end>\"}, \"other\": [1, 2] }";
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
  json["pre_tokenizer"] = Json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"String": "a.b"}, "behavior": "Isolated", "invert": false},
      {"type": "Digits", "individual_digits": true},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})");
  EXPECT_EQ(from(json).splits(), (std::vector<std::string>{"a\\.b", "\\p{N}"}));
}

TEST(TokenizerFile, TakesWholePiecesFirstWithIgnoreMerges) {
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
  EXPECT_EQ(tokens_of(from(json), "e<end>>nd>"), (Tokens{"e", "<end>>", "nd>"}));  // not normalized ones are found first
  EXPECT_EQ(tokens_of(from(json), "e<x"), (Tokens{"e<", "x"}));
}

struct BadFile {
  const char* name;
  void (*spoil)(Json& json);
  ErrorKind kind;
  const char* message;
};

const BadFile kBadFiles[] = {
    {"no model", [](Json& j) { j.erase("model"); }, ErrorKind::corrupt, "\"model\" is missing"},
    {"no vocab", [](Json& j) { j["model"].erase("vocab"); }, ErrorKind::corrupt, "model.vocab is missing"},
    {"no merges", [](Json& j) { j["model"].erase("merges"); }, ErrorKind::corrupt, "model.merges is missing"},
    {"a merge of an absent token", [](Json& j) { j["model"]["merges"].push_back("a q"); }, ErrorKind::corrupt, "needs token 'aq', which is absent"},
    {"a merge of absent parts", [](Json& j) { j["model"]["merges"].push_back("zz abc"); }, ErrorKind::corrupt, "needs token 'zz'"},
    {"a merge of one token", [](Json& j) { j["model"]["merges"].push_back("ab"); }, ErrorKind::corrupt, "not two tokens"},
    {"a merge of three tokens", [](Json& j) { j["model"]["merges"].push_back("a b c"); }, ErrorKind::corrupt, "not two tokens"},
    {"a merge that is a number", [](Json& j) { j["model"]["merges"].push_back(7); }, ErrorKind::corrupt, "merge 2 is 7"},
    {"a merge twice", [](Json& j) { j["model"]["merges"].push_back("a b"); }, ErrorKind::corrupt, "join the same two tokens"},
    {"a merge in a circle", [](Json& j) { j["model"]["vocab"][""] = 259, j["model"]["merges"].push_back({"", "ab"}); }, ErrorKind::corrupt, "is empty"},
    {"a merge to a special token", [](Json& j) { j["model"]["vocab"]["<end>"] = 258, j["model"]["vocab"]["<e"] = 259, j["model"]["vocab"]["nd>"] = 260,
        j["model"]["merges"].push_back("<e nd>"); }, ErrorKind::corrupt, "makes the special token '<end>'"},
    {"an id gap", [](Json& j) { j["model"]["vocab"]["zz"] = 400; }, ErrorKind::corrupt, "no token has the id 259"},
    {"an id twice", [](Json& j) { j["model"]["vocab"]["zz"] = 256; }, ErrorKind::corrupt, "id 256 belongs to two tokens"},
    {"an added id twice", [](Json& j) { j["added_tokens"].push_back({{"id", 258}, {"content", "x"}}); }, ErrorKind::corrupt, "two added tokens have the id 258"},
    {"an added token twice", [](Json& j) { j["added_tokens"].push_back({{"id", 259}, {"content", "<end>"}}); }, ErrorKind::corrupt, "stands there twice"},
    {"an added token on a byte", [](Json& j) { j["added_tokens"].push_back({{"id", 5}, {"content", "x"}}); }, ErrorKind::corrupt, "id 5 belongs to two tokens"},
    {"a negative id", [](Json& j) { j["model"]["vocab"]["zz"] = -1; }, ErrorKind::corrupt, "the id -1 of token 'zz'"},
    {"a huge id", [](Json& j) { j["model"]["vocab"]["zz"] = 4e9; }, ErrorKind::corrupt, "not a whole number"},
    {"a huge whole id", [](Json& j) { j["model"]["vocab"]["zz"] = 5'000'000'000; }, ErrorKind::corrupt, "is not in 0 .."},
    {"an id in letters", [](Json& j) { j["model"]["vocab"]["zz"] = "7"; }, ErrorKind::corrupt, "not a whole number"},
    {"a byte without token", [](Json& j) { j["model"]["vocab"].erase("b"), j["model"]["vocab"]["zz"] = 65; }, ErrorKind::unsupported, "no token stands for byte 0x62"},
    {"a token outside the alphabet", [](Json& j) { j["model"]["vocab"]["日"] = 259; }, ErrorKind::unsupported, "not spelt in the byte alphabet"},
    {"another model", [](Json& j) { j["model"]["type"] = "Unigram"; }, ErrorKind::unsupported, "a model of type Unigram"},
    {"byte fallback", [](Json& j) { j["model"]["byte_fallback"] = true; }, ErrorKind::unsupported, "byte_fallback"},
    {"dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, ErrorKind::unsupported, "dropout"},
    {"a suffix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, ErrorKind::unsupported, "end_of_word_suffix"},
    {"a normalizer", [](Json& j) { j["normalizer"] = {{"type", "NFC"}}; }, ErrorKind::unsupported, "normalizer"},
    {"no pre-tokenizer", [](Json& j) { j["pre_tokenizer"] = nullptr; }, ErrorKind::unsupported, "without ByteLevel"},
    {"a prefix space", [](Json& j) { j["pre_tokenizer"]["add_prefix_space"] = true; }, ErrorKind::unsupported, "add_prefix_space"},
    {"another decoder", [](Json& j) { j["decoder"] = {{"type", "Metaspace"}}; }, ErrorKind::unsupported, "decoder"},
    {"a stripping token", [](Json& j) { j["added_tokens"][0]["lstrip"] = true; }, ErrorKind::unsupported, "lstrip"},
    {"an added token without id", [](Json& j) { j["added_tokens"][0].erase("id"); }, ErrorKind::corrupt, "has no id"},
    {"an empty added token", [](Json& j) { j["added_tokens"][0]["content"] = ""; }, ErrorKind::corrupt, "empty"},
    {"a flag that is a word", [](Json& j) { j["added_tokens"][0]["special"] = "yes"; }, ErrorKind::corrupt, "not true or false"},
    {"a bad expression", [](Json& j) { j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {
        {{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}}, {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}}; },
        ErrorKind::invalid, "'(a' cannot be compiled"},
    {"a type of another type", [](Json& j) { j["model"]["type"] = 3; }, ErrorKind::corrupt, "\"type\""},
    {"a model that is a list", [](Json& j) { j["model"] = Json::array(); }, ErrorKind::corrupt, "\"model\" is missing"},
};

TEST(TokenizerFile, RefusesWhatItCannotHonourByName) {
  for (const BadFile& bad : kBadFiles) {
    Json json = small_json();
    bad.spoil(json);
    ErrorKind kind = ErrorKind::internal;
    const std::string message = error_of([&] { from(json); }, &kind);
    EXPECT_NE(message.find(bad.message), std::string::npos) << bad.name << ": '" << message << "'";
    EXPECT_EQ(kind, bad.kind) << bad.name << ": " << message;
    EXPECT_LT(message.size(), 400u) << bad.name;
  }
}

TEST(TokenizerFile, RefusesWhatIsNoJson) {
  for (const std::string& text : {std::string(), std::string("{"), std::string("\xff\xfe"), std::string("[1, 2")}) {
    EXPECT_NE(error_of([&] { Tokenizer::from_json_text(text); }).find("not valid JSON"), std::string::npos);
  }
  EXPECT_NE(error_of([] { Tokenizer::from_json_text(std::string(100000, '[')); }).find("nested deeper"), std::string::npos);
  EXPECT_NE(error_of([] { Tokenizer::from_json_text("[]"); }).find("not a JSON object"), std::string::npos);
  EXPECT_NE(error_of([] { from(small_json(), "{"); }).find("tokenizer_config.json is not valid JSON"), std::string::npos);
  EXPECT_NE(error_of([] { from(small_json(), R"({"eos_token": "</s>"})"); }).find("eos_token '</s>'"), std::string::npos);
  EXPECT_NE(error_of([] { from(small_json(), R"({"eos_token": 7})"); }).find("not the name of a token"), std::string::npos);
}

TEST(TokenizerFile, NamesTheFileThatIsMissingOrBroken) {
  TempDir directory;
  ErrorKind kind = ErrorKind::internal;
  EXPECT_NE(error_of([&] { Tokenizer::load(directory / "nothing"); }, &kind).find("no tokenizer at"), std::string::npos);
  EXPECT_EQ(kind, ErrorKind::not_found);
  EXPECT_NE(error_of([&] { Tokenizer::load(directory.path()); }).find("no tokenizer.json"), std::string::npos);
  std::ofstream(directory / "tokenizer.json") << "{\"model\": ";
  EXPECT_NE(error_of([&] { Tokenizer::load(directory.path()); }).find(directory.path()), std::string::npos);
}

}  // namespace
}  // namespace hadal
