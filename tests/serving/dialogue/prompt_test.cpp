// What a chat request becomes: which template writes it, and what of the request the template sees.
#include "dialogue/prompt.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/testing.h"

namespace hadal {
namespace {

using testing::error_of;
using testing::TempDir;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const char* const kTool = R"([{"type": "function", "function": {"name": "f", "parameters": {}}}])";

TEST(Prompt, AChatWithToolsIsWrittenByTheTemplateForTools) {
  const TempDir directory;
  atomic_write(directory / "tokenizer_config.json",
               R"({"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"},
                                     {"name": "rag", "template": "r{{ documents[0].text }}"}]})");
  const auto text = [&](const std::string& more, const std::string& wanted = "") {
    const std::string request = R"({"messages": [{"role": "user", "content": "x"}])" + more + "}";
    int64_t replaced = 0;
    return chat_text(rendered_chat(directory.path(), chat_from_json(request, "here", replaced), wanted));
  };
  EXPECT_EQ(text(""), "d");
  EXPECT_EQ(text(std::string(", \"tools\": ") + kTool), "t");
  EXPECT_EQ(text(", \"tools\": []"), "t");  // given, if empty: as transformers
  EXPECT_EQ(text(", \"tools\": null"), "d");
  EXPECT_EQ(text(R"(, "documents": [{"text": "!"}])", "rag"), "r!");
  EXPECT_TRUE(has(error_of([&] { text("", "other"); }), "'default', 'tool_use', 'rag'"));
}

TEST(Prompt, ATemplateMayComeInAFile) {
  const TempDir directory;
  EXPECT_TRUE(has(error_of([&] { rendered_chat(directory.path(), chat_of("hi")); }), "no chat template"));
  atomic_write(directory / "tokenizer_config.json", R"({"bos_token": "<s>"})");
  atomic_write(directory / "mine.jinja", "{{ bos_token }}{{ messages[0].content }}{{ add_generation_prompt }}");
  EXPECT_EQ(chat_text(rendered_chat(directory.path(), chat_of("hi"), directory / "mine.jinja")), "<s>hiTrue");
}

}  // namespace
}  // namespace hadal
