// Files of a tokenizer that others read as putting BOS before a text.
#include "text/bos_files.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/expect_error.h"
#include "base/json.h"

namespace hadal {
namespace {

using nlohmann::json;

json processors(const std::string& file) {
  const json whole = parse_json<json>(tokenizer_json_with_bos(file, "<s>", 4), "what was written");
  EXPECT_EQ(whole["post_processor"]["type"], "Sequence");
  return whole["post_processor"]["processors"];
}

TEST(BosFiles, PutATemplateBehindThePostProcessorsThatAreThere) {
  for (const char* const none : {"{}", R"({"post_processor": null})"}) {
    const json only = processors(none);
    ASSERT_EQ(only.size(), 1u);
    EXPECT_EQ(only[0]["single"][0]["SpecialToken"]["id"], "<s>");
    EXPECT_EQ(only[0]["single"][1]["Sequence"]["id"], "A");
    EXPECT_EQ(only[0]["special_tokens"]["<s>"]["ids"], json::array({4}));
  }
  const json two = processors(R"({"post_processor": {"type": "ByteLevel", "trim_offsets": true}, "model": {}})");
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0]["type"], "ByteLevel");
  const json three =
      processors(R"({"post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "X"}]}})");
  ASSERT_EQ(three.size(), 3u);
  EXPECT_EQ(three[2]["type"], "TemplateProcessing");
}

TEST(BosFiles, LeaveATemplateThatDoesSoAlone) {
  const std::string once = tokenizer_json_with_bos(R"({"model": {"vocab": {"é": 1}}})", "<s>", 4);
  EXPECT_NE(once.find("é"), std::string::npos) << once;
  EXPECT_EQ(tokenizer_json_with_bos(once, "<s>", 4), once);
  EXPECT_NE(tokenizer_json_with_bos(once, "<other>", 5), once);
}

TEST(BosFiles, SetTheFlagAndKeepTheRestInItsOrder) {
  EXPECT_EQ(tokenizer_config_with_bos(R"({"z": 1, "add_bos_token": false, "a": "b"})"),
            "{\n  \"z\": 1,\n  \"add_bos_token\": true,\n  \"a\": \"b\"\n}\n");
  EXPECT_ERROR(tokenizer_config_with_bos("[]"), ErrorKind::corrupt, "tokenizer_config.json");
}

}  // namespace
}  // namespace hadal
