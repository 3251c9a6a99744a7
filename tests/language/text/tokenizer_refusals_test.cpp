// tokenizer.json files that are broken, or that say what is not supported: refused by name.
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
    {"a merge of an absent token", [](Json& j) { j["model"]["merges"].push_back("a q"); }, ErrorKind::corrupt,
     "needs token 'aq', which is absent"},
    {"a merge of absent parts", [](Json& j) { j["model"]["merges"].push_back("zz abc"); }, ErrorKind::corrupt,
     "needs token 'zz'"},
    {"a merge of one token", [](Json& j) { j["model"]["merges"].push_back("ab"); }, ErrorKind::corrupt,
     "not two tokens"},
    {"a merge of three tokens", [](Json& j) { j["model"]["merges"].push_back("a b c"); }, ErrorKind::corrupt,
     "not two tokens"},
    {"a merge that is a number", [](Json& j) { j["model"]["merges"].push_back(7); }, ErrorKind::corrupt,
     "merge 2 is 7"},
    {"a merge twice", [](Json& j) { j["model"]["merges"].push_back("a b"); }, ErrorKind::corrupt,
     "join the same two tokens"},
    {"a merge in a circle",
     [](Json& j) {
       j["model"]["vocab"][""] = 259, j["model"]["merges"].push_back({"", "ab"});
     },
     ErrorKind::corrupt, "is empty"},
    {"a merge to a special token",
     [](Json& j) {
       j["model"]["vocab"]["<end>"] = 258, j["model"]["vocab"]["<e"] = 259, j["model"]["vocab"]["nd>"] = 260,
       j["model"]["merges"].push_back("<e nd>");
     },
     ErrorKind::corrupt, "makes the special token '<end>'"},
    {"an id gap", [](Json& j) { j["model"]["vocab"]["zz"] = 400; }, ErrorKind::corrupt, "no token has the id 259"},
    {"an id twice", [](Json& j) { j["model"]["vocab"]["zz"] = 256; }, ErrorKind::corrupt,
     "id 256 belongs to two tokens"},
    {"an added id twice",
     [](Json& j) {
       j["added_tokens"].push_back({{"id", 258}, {"content", "x"}});
     },
     ErrorKind::corrupt, "two added tokens have the id 258"},
    {"an added token twice",
     [](Json& j) {
       j["added_tokens"].push_back({{"id", 259}, {"content", "<end>"}});
     },
     ErrorKind::corrupt, "stands there twice"},
    {"an added token on a byte",
     [](Json& j) {
       j["added_tokens"].push_back({{"id", 5}, {"content", "x"}});
     },
     ErrorKind::corrupt, "id 5 belongs to two tokens"},
    {"a negative id", [](Json& j) { j["model"]["vocab"]["zz"] = -1; }, ErrorKind::corrupt, "the id -1 of token 'zz'"},
    {"a huge id", [](Json& j) { j["model"]["vocab"]["zz"] = 4e9; }, ErrorKind::corrupt, "not a whole number"},
    {"a huge whole id", [](Json& j) { j["model"]["vocab"]["zz"] = 5'000'000'000; }, ErrorKind::corrupt,
     "is not in 0 .."},
    {"an id in letters", [](Json& j) { j["model"]["vocab"]["zz"] = "7"; }, ErrorKind::corrupt, "not a whole number"},
    {"a byte without token", [](Json& j) { j["model"]["vocab"].erase("b"), j["model"]["vocab"]["zz"] = 65; },
     ErrorKind::unsupported, "no token stands for byte 0x62"},
    {"a token outside the alphabet", [](Json& j) { j["model"]["vocab"]["日"] = 259; }, ErrorKind::unsupported,
     "not spelt in the byte alphabet"},
    {"another model", [](Json& j) { j["model"]["type"] = "Unigram"; }, ErrorKind::unsupported,
     "a model of type Unigram"},
    {"byte fallback", [](Json& j) { j["model"]["byte_fallback"] = true; }, ErrorKind::unsupported, "byte_fallback"},
    {"dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, ErrorKind::unsupported, "dropout"},
    {"a suffix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, ErrorKind::unsupported,
     "end_of_word_suffix"},
    {"a normalizer",
     [](Json& j) {
       j["normalizer"] = {{"type", "NFC"}};
     },
     ErrorKind::unsupported, "normalizer"},
    {"no pre-tokenizer", [](Json& j) { j["pre_tokenizer"] = nullptr; }, ErrorKind::unsupported, "without ByteLevel"},
    {"a prefix space", [](Json& j) { j["pre_tokenizer"]["add_prefix_space"] = true; }, ErrorKind::unsupported,
     "add_prefix_space"},
    {"another decoder",
     [](Json& j) {
       j["decoder"] = {{"type", "Metaspace"}};
     },
     ErrorKind::unsupported, "decoder"},
    {"a stripping token of no sense", [](Json& j) { j["added_tokens"][0]["lstrip"] = 1; }, ErrorKind::corrupt,
     "\"lstrip\" is 1"},
    {"a Unigram model",
     [](Json& j) {
       j["model"] = {{"type", "Unigram"}, {"vocab", Json::array()}};
     },
     ErrorKind::unsupported, "a model of type Unigram"},
    {"a WordPiece model",
     [](Json& j) {
       j["model"] = {{"type", "WordPiece"}, {"vocab", Json::object()}};
     },
     ErrorKind::unsupported, "a model of type WordPiece"},
    {"no type and no merges", [](Json& j) { j["model"].erase("type"), j["model"].erase("merges"); }, ErrorKind::corrupt,
     "\"type\""},
    {"Metaspace",
     [](Json& j) {
       j["pre_tokenizer"] = {
           {"type", "Sequence"},
           {"pretokenizers", {{{"type", "Metaspace"}}, {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}};
     },
     ErrorKind::unsupported, "a pre-tokenizer of type Metaspace"},
    {"a removing split",
     [](Json& j) {
       j["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers",
                              {{{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Removed"}},
                               {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}};
     },
     ErrorKind::unsupported, "behavior Removed"},
    {"another post-processor",
     [](Json& j) {
       j["post_processor"] = {{"type", "BertProcessing"}};
     },
     ErrorKind::unsupported, "a post-processor of type BertProcessing"},
    {"a template without its token",
     [](Json& j) {
       j["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single", {{{"SpecialToken", {{"id", "<x>"}}}}}},
                              {"special_tokens", Json::object()}};
     },
     ErrorKind::corrupt, "'<x>', which its \"special_tokens\" lack"},
    {"a template without text",
     [](Json& j) {
       j["post_processor"] = {
           {"type", "TemplateProcessing"}, {"single", Json::array()}, {"special_tokens", Json::object()}};
     },
     ErrorKind::corrupt, "leaves out the text"},
    {"a template of an id beyond",
     [](Json& j) {
       j["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single", {{{"SpecialToken", {{"id", "<x>"}}}}, {{"Sequence", {{"id", "A"}}}}}},
                              {"special_tokens", {{"<x>", {{"ids", {700}}}}}}};
     },
     ErrorKind::corrupt, "the id 700, but ids end at 258"},
    {"a template of two texts",
     [](Json& j) {
       j["post_processor"] = {{"type", "TemplateProcessing"},
                              {"single", {{{"Sequence", {{"id", "B"}}}}}},
                              {"special_tokens", Json::object()}};
     },
     ErrorKind::corrupt, "another sequence than A"},
    {"a template that is none",
     [](Json& j) {
       j["post_processor"] = {{"type", "TemplateProcessing"}, {"single", {7}}, {"special_tokens", Json::object()}};
     },
     ErrorKind::corrupt, "neither Sequence nor SpecialToken"},
    {"vocabulary as a list", [](Json& j) { j["model"]["vocab"] = Json::array({"a"}); }, ErrorKind::corrupt,
     "model.vocab is missing"},
    {"merges as an object", [](Json& j) { j["model"]["merges"] = Json::object(); }, ErrorKind::corrupt,
     "model.merges is missing"},
    {"added tokens as an object",
     [](Json& j) {
       j["added_tokens"] = Json::object({{"a", 1}});
     },
     ErrorKind::corrupt, "not a list"},
    {"an added token that is a number", [](Json& j) { j["added_tokens"] = {7}; }, ErrorKind::corrupt, "\"content\""},
    {"a pre-tokenizer that is a word", [](Json& j) { j["pre_tokenizer"] = "ByteLevel"; }, ErrorKind::unsupported,
     "without ByteLevel"},
    {"a normalizer that is a number", [](Json& j) { j["normalizer"] = 3; }, ErrorKind::unsupported, "the normalizer 3"},
    {"a huge expression",
     [](Json& j) {
       j["pre_tokenizer"] = {
           {"type", "Sequence"},
           {"pretokenizers",
            {{{"type", "Split"}, {"pattern", {{"Regex", std::string(100000, '(')}}}, {"behavior", "Isolated"}},
             {{"type", "ByteLevel"}, {"add_prefix_space", false}}}}};
     },
     ErrorKind::invalid, "cannot be compiled"},
    {"an added token without id", [](Json& j) { j["added_tokens"][0].erase("id"); }, ErrorKind::corrupt, "has no id"},
    {"an empty added token", [](Json& j) { j["added_tokens"][0]["content"] = ""; }, ErrorKind::corrupt, "empty"},
    {"a flag that is a word", [](Json& j) { j["added_tokens"][0]["special"] = "yes"; }, ErrorKind::corrupt,
     "not true or false"},
    {"a bad expression",
     [](Json& j) {
       j["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers",
                              {{{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}},
                               {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
     },
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

TEST(TokenizerFile, RefusesTextOutsideOfUtf8) {
  std::string text = json_text(small_json());
  const size_t at = text.find("<end>");
  text[at] = char(0xFF);
  ErrorKind kind = ErrorKind::internal;
  EXPECT_NE(error_of([&] { Tokenizer::from_json_text(text); }, &kind).find("not valid JSON"), std::string::npos);
  EXPECT_EQ(kind, ErrorKind::corrupt);
}

TEST(TokenizerFile, StopsExpressionsThatBacktrackWithoutEnd) {
  for (const char* expression : {"(a+)+b", "(a|a)*b", "(?:a?){30}a{30}b", "(a*)*b", "(?=(a+)+b)x", "(.*)*\\1b"}) {
    Json json = small_json();
    json["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers",
                              {{{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}},
                               {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
    // either the expression is refused, or the text is encoded, or it is stopped with an error: never without end
    try {
      const Tokenizer tokenizer = from(json);
      const std::string text(60, 'a');
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text) << expression;
    } catch (const Error& e) {
      EXPECT_TRUE(e.kind() == ErrorKind::invalid || e.kind() == ErrorKind::unsupported)
          << expression << ": " << e.what();
    }
  }
}

TEST(TokenizerFile, RefusesWhatIsNoJson) {
  for (const std::string& text : {std::string(), std::string("{"), std::string("\xff\xfe"), std::string("[1, 2")}) {
    EXPECT_NE(error_of([&] { Tokenizer::from_json_text(text); }).find("not valid JSON"), std::string::npos);
  }
  EXPECT_NE(error_of([] { Tokenizer::from_json_text(std::string(100000, '[')); }).find("nested deeper"),
            std::string::npos);
  EXPECT_NE(error_of([] { Tokenizer::from_json_text("[]"); }).find("not a JSON object"), std::string::npos);
  EXPECT_NE(error_of([] { from(small_json(), "{"); }).find("tokenizer_config.json: not valid JSON"), std::string::npos);
  EXPECT_NE(error_of([] { from(small_json(), R"({"eos_token": 7})"); }).find("not the name of a token"),
            std::string::npos);
}

TEST(TokenizerFile, NamesTheFileThatIsMissingOrBroken) {
  TempDir directory;
  ErrorKind kind = ErrorKind::internal;
  EXPECT_NE(error_of([&] { Tokenizer::load(directory / "nothing"); }, &kind).find("no tokenizer at"),
            std::string::npos);
  EXPECT_EQ(kind, ErrorKind::not_found);
  EXPECT_NE(error_of([&] { Tokenizer::load(directory.path()); }).find("neither tokenizer.json nor tiktoken.model"),
            std::string::npos);
  std::ofstream(directory / "tokenizer.json") << "{\"model\": ";
  EXPECT_NE(error_of([&] { Tokenizer::load(directory.path()); }).find(directory.path()), std::string::npos);
}

}  // namespace
}  // namespace hadal
