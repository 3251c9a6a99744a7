// What of a tokenizer and its chat templates goes into a GGUF file.
#include "exchange/gguf_vocabulary.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/json.h"
#include "base/testing.h"
#include "text/tokenizer_json_testing.h"

namespace hadal {
namespace {

using Notices = std::vector<std::string>;
using testing::from;
using testing::small_json;
using testing::TempDir;

TEST(GgufVocabulary, TakesTheChatTemplatesInEveryFormThatADirectoryMayHave) {
  using Templates = std::vector<std::pair<std::string, std::string>>;
  const TempDir directory;
  const Tokenizer tokenizer = from(small_json());
  Notices notices;
  const auto export_of = [&](const std::string& config) {
    atomic_write(directory / "tokenizer_config.json", config);
    notices.clear();
    return gguf_vocabulary(tokenizer, directory.path(), notices).chat_templates;
  };
  const auto noticed = [&] { return !notices.empty() && notices.back().find("chat template") != std::string::npos; };
  EXPECT_EQ(export_of("{}"), Templates{});
  EXPECT_EQ(export_of(R"({"chat_template": "one"})"), (Templates{{"default", "one"}}));
  EXPECT_EQ(export_of(R"({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]})"),
            (Templates{{"rag", "r"}, {"default", "d"}}));
  EXPECT_EQ(export_of(R"({"chat_template": {"tool-use": "t", "default": "d"}})"),
            (Templates{{"tool_use", "t"}, {"default", "d"}}));
  EXPECT_EQ(export_of(R"({"chat_template": [{"name": "tool_use", "template": "t"}]})"), (Templates{{"default", "t"}}));
  EXPECT_FALSE(noticed());
  EXPECT_EQ(export_of(R"({"chat_template": {"rag": "r", "tool_use": "t"}})"),
            (Templates{{"rag", "r"}, {"tool_use", "t"}}));
  EXPECT_TRUE(noticed());
  atomic_write(directory / "chat_template.jinja", "a file");
  EXPECT_EQ(export_of(R"({"chat_template": "one"})"), (Templates{{"default", "a file"}}));
}

TEST(GgufVocabulary, AddsBosWhereTheTokenizerDoesByItsConfigOrItsTemplate) {
  const TempDir directory;
  auto json = small_json();  // "<end>" is its token 258
  json["post_processor"] = parse_json<testing::Json>(
      R"({"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<end>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<end>": {"ids": [258]}}})",
      "post_processor");
  const auto vocabulary = [&](const std::string& config) {
    atomic_write(directory / "tokenizer_config.json", config);
    Notices notices;
    return gguf_vocabulary(from(json, config), directory.path(), notices);
  };
  const auto by_template = vocabulary(R"({"bos_token": "<end>"})");
  EXPECT_EQ(by_template.bos, 258);
  EXPECT_TRUE(by_template.add_bos);
  EXPECT_FALSE(by_template.add_eos);
  EXPECT_FALSE(vocabulary(R"({"bos_token": "<end>", "add_bos_token": false})").add_bos);
  EXPECT_TRUE(vocabulary(R"({"eos_token": "<end>", "add_eos_token": true})").add_eos);
}

}  // namespace
}  // namespace hadal
