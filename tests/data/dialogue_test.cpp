// The formats in which dialogues come, and what of them is refused.
#include "data/dialogue.h"

#include "data/dialogue_testing.h"

namespace hadal::data {
namespace {

using F = SourceFormat;

TEST(Dialogue, TheSameDialogueHasTheSameBytesInEveryFormat) {
  const std::string expected = R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"q\ni"},)"
                               R"({"role":"assistant","content":"a"}]})";
  EXPECT_EQ(one_form(R"({"instruction": "q", "input": "i", "output": "a", "system": "s"})", F::alpaca), expected);
  EXPECT_EQ(one_form(R"({"id": 7, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q\ni"},
                        {"role": "assistant", "content": [{"type": "text", "text": "a"}]}]})",
                     F::messages),
            expected);
  EXPECT_EQ(one_form(R"({"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q\ni"},
                        {"from": "gpt", "value": "a"}]})",
                     F::sharegpt),
            expected);
  EXPECT_EQ(one_form(R"({"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "assistant",
                        "content": "a"}]})",
                     F::prompt_completion),
            R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"completion_from":1})");
  EXPECT_EQ(one_form(R"({"prompt": "2+2=", "completion": "4"})", F::prompt_completion),
            R"({"prompt":"2+2=","completion":"4"})");
}

TEST(Dialogue, KeepsReasoningToolsHistoryAndNames) {
  EXPECT_EQ(one_form(R"({"instruction": "q", "input": null, "output": "a", "history": [["x", "y"]]})", F::alpaca),
            R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"},)"
            R"({"role":"user","content":"q"},{"role":"assistant","content":"a"}]})");
  EXPECT_EQ(one_form(R"({"tools": "[{\"name\": \"f\"}]", "chats": [{"role": "user", "content": "q"},
             {"role": "assistant", "content": null, "thinking": "t", "tool_calls": [{"id": "1"}]},
             {"role": "tool", "content": "r", "tool_call_id": "1", "name": "f", "else": 3},
             {"role": "assistant", "content": "a", "weight": 0}]})",
                     F::messages, "chats"),
            R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"reasoning_content":"t",)"
            R"("tool_calls":[{"id":"1"}]},{"role":"tool","content":"r","name":"f","tool_call_id":"1"},)"
            R"({"role":"assistant","content":"a","weight":0}],"tools":[{"name":"f"}]})");
  EXPECT_EQ(one_form(R"({"conversations": [{"from": "human", "value": "q"},
             {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"},
             {"from": "observation", "value": "r"}, {"from": "gpt", "value": "a"}]})",
                     F::sharegpt),
            R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":)"
            R"([{"type":"function","function":{"name":"f","arguments":{"x":1}}}]},{"role":"tool","content":"r"},)"
            R"({"role":"assistant","content":"a"}]})");
}

TEST(Dialogue, WhatIsNoneIsRefusedInOneSentence) {
  const std::pair<std::string, const char*> bad[] = {
      {R"({"text": "x"})", "there is no 'messages' (fields: text)"},
      {R"({"messages": 3})", "'messages' is 3, not a list of messages"},
      {R"({"messages": []})", "has no message"},
      {R"({"messages": ["x"]})", "message 1 is \"x\", not an object"},
      {R"({"messages": [{"content": "x"}]})", "message 1 lacks 'role'"},
      {R"({"messages": [{"role": "critic", "content": "x"}]})", "message 1 has the role \"critic\""},
      {R"({"messages": [{"role": "user"}]})", "message 1 (user) has no content"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", "has a part that is no text"},
      {R"({"messages": [{"role": "user", "content": {"a": 1}}]})", "neither a text nor text parts"},
      {messages_line({{"user", "q"}}), "no message is an assistant's"},
      {messages_line({{"assistant", "a"}}), "no message is a user's"},
      {messages_line({{"user", "q"}, {"user", "q"}, {"assistant", "a"}}), "message 2 repeats the role 'user'"},
      {messages_line({{"user", "q"}, {"assistant", "a"}, {"assistant", "b"}}),
       "message 3 repeats the role 'assistant'"},
      {R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0.5}]})",
       "the weight of message 2 (assistant) is 0.5"},
      {R"({"messages": [{"role": "user", "content": "q", "tool_calls": [1]}]})", "message 1 (user) has tool_calls"},
      {R"({"tools": "x", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})",
       "'tools' is a text that is no JSON"},
  };
  for (const auto& [line, why] : bad) {
    const std::string said = one_form(line, F::messages);
    EXPECT_TRUE(said.starts_with("refused: ") && said.find(why) != std::string::npos) << line << ": " << said;
  }
  EXPECT_NE(one_form(R"({"instruction": "q"})", F::alpaca).find("lacks 'output'"), std::string::npos);
  EXPECT_NE(one_form(R"({"instruction": "q", "output": 4})", F::alpaca).find("'output' of the line is 4, not a text"),
            std::string::npos);
  EXPECT_NE(one_form(R"({"conversations": [{"from": "bot", "value": "x"}]})", F::sharegpt).find("is from \"bot\""),
            std::string::npos);
  EXPECT_NE(
      one_form(R"({"prompt": "x", "completion": []})", F::prompt_completion).find("neither two texts nor two lists"),
      std::string::npos);
  std::string many = R"({"messages": [)";
  for (int i = 0; i < 501; ++i) many += R"({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, )";
  EXPECT_NE(one_form(many.substr(0, many.size() - 2) + "]}", F::messages).find("at most 1000"), std::string::npos);
}

TEST(Dialogue, ABadLineIsNamedOrPassedOver) {
  DialogueFixture f({messages_line({{"user", "q"}, {"assistant", "a"}}), R"({"messages": [{"role": "user"}]})",
                     messages_line({{"user", "r"}, {"assistant", "b"}}), "{\"messages\": "});
  expect_error(ErrorKind::corrupt, {"chats.jsonl' line 2", "message 1 (user) has no content", "on_bad_line"},
               [&] { f.prepare(); });
  f.config.data.on_bad_line = OnBadLine::skip;
  const Prepared p = f.prepare();
  EXPECT_EQ(p.shards.index().counts[0].bad_lines, 2);
  EXPECT_EQ(p.shards.n_documents(Split::training, 0), 2);
}

TEST(Dialogue, FilesWithoutDialoguesArePassedOverInADirectoryAndRefusedByName) {
  DialogueFixture f({messages_line({{"user", "q"}, {"assistant", "a"}})});
  write_text(f.directory / "all" / "readme.md", "# Chats\n");
  write_text(f.directory / "all" / "list.json", "[" + messages_line({{"user", "r"}, {"assistant", "b"}}) + "]");
  write_text(f.directory / "all" / "other.json", R"({"name": "x"})");
  f.config.data.sources[0].paths = {(f.directory / "all").string()};
  const Prepared p = f.prepare();
  EXPECT_EQ(p.shards.n_documents(Split::training, 0), 1);
  EXPECT_EQ(p.shards.index().counts[0].skipped_files, 2);
  f.config.data.sources[0].paths = {(f.directory / "all" / "other.json").string()};
  expect_error(ErrorKind::invalid, {"other.json' holds no dialogues", "no 'messages'"}, [&] { f.prepare(); });
}

TEST(Dialogue, DuplicatesAreFoundAcrossFormats) {
  DialogueFixture f(
      {messages_line({{"user", "q"}, {"assistant", "a"}}), messages_line({{"user", "r"}, {"assistant", "b"}})});
  write_text(f.directory / "alpaca.json",
             R"([{"instruction": "q", "output": "a"}, {"instruction": "s", "output": "c"}])");
  f.config.data.sources.push_back(source_of("alpaca", f.directory / "alpaca.json"));
  f.config.data.sources[1].format = SourceFormat::alpaca;
  const Prepared p = f.prepare();
  EXPECT_EQ(p.shards.index().counts[1].duplicates, 1);
  EXPECT_EQ(p.shards.n_documents(Split::training, 1), 1);
}

}  // namespace
}  // namespace hadal::data
