// What is said of a file of dialogues before anything is trained on it; and dialogues of hostile files.
#include "data/dialogue_check.h"

#include <algorithm>

#include "data/dialogue_testing.h"

namespace hadal::data {
namespace {

struct Checked {
  TempDir directory;
  Tokenizer tokenizer = byte_tokenizer();
  DialogueCheckOptions options;
  fs::path file = directory / "chats.jsonl";

  explicit Checked(const std::vector<std::string>& lines) {
    std::string all;
    for (const std::string& line : lines) all += line + "\n";
    write_text(file, all);
    options.source.format = SourceFormat::messages;
    options.stop = {*tokenizer.eos_id()};
  }
  DialogueCheck check(const std::string& chat_template = "") const {
    return check_dialogues(file, tokenizer, DialogueWriter(tokenizer, chat_template), options);
  }
};

std::string chat(const std::string& q, const std::string& a) { return messages_line({{"user", q}, {"assistant", a}}); }

TEST(DialogueCheck, CountsWhatIsTrainedAndListsWhatIsOdd) {
  Checked c(
      {chat("q", "abc"), chat("q", "abc"), chat("r", ""), "{\"messages\": [", chat("<｜User｜>", "b"),
       R"({"messages": [{"role": "user", "content": "q"}]})", chat("s", std::string(50, 'x')),
       R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0}]})"});
  c.options.sequence_length = 30;
  const DialogueCheck found = c.check();
  EXPECT_EQ(found.dialogues, 6);
  EXPECT_EQ(found.messages, 12);
  EXPECT_EQ(found.lengths.size(), 5u);
  EXPECT_EQ(found.lengths.front(), 5);
  EXPECT_EQ(found.trained, 4 + 4 + 1 + 2 + 51);
  const std::pair<Lint, int64_t> counts[] = {{Lint::bad_line, 2},     {Lint::refused, 1},   {Lint::too_long, 1},
                                             {Lint::empty_answer, 1}, {Lint::duplicate, 1}, {Lint::no_end, 0},
                                             {Lint::spelt_control, 1}};
  for (const auto& [lint, n] : counts) EXPECT_EQ(found.counts[size_t(lint)], n) << kLintNames[size_t(lint)];
  EXPECT_EQ(found.n_refused(), 3);
  const std::string text = found.text(c.options);
  for (const char* part :
       {"6 dialogues (messages), 12 messages, 5 samples", "line 2: duplicate: the same as line 1",
        "line 3: empty answer", "line 4: bad line: not valid JSON", "line 5: spelt control token: spells <｜User｜>",
        "line 6: bad line: no message is an assistant's", "line 7: too long: 55 tokens, a sequence has 30",
        "line 8: refused: no message of it is trained", "removed"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(DialogueCheck, AnAnswerWithoutAnEndIsFound) {
  Checked c({chat("q", "a")});
  write_text(c.directory / "t.jinja",
             "{% for m in messages %}{{ ('<｜User｜>' if m.role == 'user' else '<｜Assistant｜>') + m.content }}"
             "{% endfor %}{{ '<｜Assistant｜>' if add_generation_prompt }}");
  const DialogueCheck found = c.check((c.directory / "t.jinja").string());
  EXPECT_EQ(found.counts[size_t(Lint::no_end)], 1);
  ASSERT_EQ(found.findings.size(), 1u);
  EXPECT_EQ(found.findings[0].text, "its answer ends with the token 'a'");
  EXPECT_EQ(c.check().text(c.options).find("finding"), std::string::npos) << "nothing to find fault with";
}

TEST(DialogueCheck, TheFormatIsToldByTheFirstLine) {
  TempDir directory;
  const std::pair<SourceFormat, const char*> files[] = {
      {SourceFormat::alpaca, R"({"instruction": "q", "output": "a"})"},
      {SourceFormat::messages,
       R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})"},
      {SourceFormat::sharegpt,
       R"([{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}])"},
      {SourceFormat::prompt_completion, R"({"prompt": "q", "completion": "a"})"}};
  for (const auto& [format, text] : files) {
    write_text(directory / "chats.json", std::string(text) + "\n");
    EXPECT_EQ(guess_format(directory / "chats.json"), format) << text;
  }
  write_text(directory / "other.jsonl", "{\"text\": \"x\"}\n");
  expect_error(ErrorKind::invalid, {"other.jsonl", "--format"}, [&] { guess_format(directory / "other.jsonl"); });
}

TEST(DialogueHostile, BytesThatAreNoUtf8AndLonePairsBecomeOneCharacterAndAreCounted) {
  std::string dialogue;
  int64_t replaced = 0;
  const std::string line =
      "{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\\ud83d\"}, {\"role\": \"assistant\", \"content\": "
      "\"a\"}]}";
  EXPECT_EQ(read_dialogue(line, SourceFormat::messages, "text", dialogue, replaced), "");
  EXPECT_EQ(replaced, 2);
  EXPECT_NE(dialogue.find("\"content\":\"\xEF\xBF\xBD\xEF\xBF\xBD\""), std::string::npos) << dialogue;
}

TEST(DialogueHostile, LinesOfMegabytesAreReadAndDropped) {
  const auto alpaca = [](const std::string& q, const std::string& a) {
    return "{\"instruction\": \"" + q + "\", \"output\": \"" + a + "\"}";
  };
  DialogueFixture f({alpaca("q", "a"), alpaca("r", std::string(10 << 20, 'x')), alpaca(std::string(1 << 20, 'y'), "b")},
                    SourceFormat::alpaca);
  const Prepared p = f.prepare();
  EXPECT_EQ(p.shards.n_documents(Split::training, 0), 3);
  Loader loader(p.shards, p.tokenizer, f.config.data);
  EXPECT_EQ(loader.next(9).sequences.size(), 1u);
}

TEST(DialogueHostile, ManyTurnsWithThoughtsEndInTime) {
  std::vector<std::pair<std::string, std::string>> messages;
  for (int i = 0; i < 100; ++i) {
    messages.emplace_back("user", "q" + std::to_string(i));
    messages.emplace_back("assistant", "<think>t" + std::to_string(i) + "</think>a");
  }
  const Tokenizer t = byte_tokenizer();
  EXPECT_EQ(samples_of(t, messages_line(messages)).size(), 100u);
}

TEST(DialogueHostile, LettersThatStandInForTokensMayStandInTheDialogue) {
  const Tokenizer t = byte_tokenizer();
  const DialogueWriter writer(t, "");
  const std::string odd = "\xEE\x82\xB1\xEE\x82\xB2\xEE\x82\xB1\xEE\x82\xB1\xEE\x82\xB3";
  const auto samples = writer.samples(
      one_form(messages_line({{"user", odd}, {"assistant", "<think>" + odd + "</think>a"}}), SourceFormat::messages),
      TrainOn::assistant);
  ASSERT_EQ(samples.size(), 1u);
  EXPECT_EQ(t.decode(samples[0].ids, true), "<｜User｜>" + odd + "<｜Assistant｜><think>" + odd + "</think>a");
}

TEST(DialogueHostile, MixedFilesAreNamedLineByLine) {
  DialogueFixture f({chat("q", "a"), R"({"text": "x"})", "[1]", "null", R"({"conversations": []})", "", "\"x\""});
  f.config.data.on_bad_line = OnBadLine::skip;
  const Prepared p = f.prepare();
  const SourceFile& file = p.shards.index().sources[0].files[0];
  ASSERT_EQ(file.bad_lines.size(), 5u);
  const int64_t lines[] = {2, 3, 4, 5, 7};
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(file.bad_lines[i].line, lines[i]) << file.bad_lines[i].reason;
  f.config.data.sources[0].format = SourceFormat::alpaca;
  expect_error(ErrorKind::invalid, {"hold no text"}, [&] { f.prepare(); });
}

}  // namespace
}  // namespace hadal::data
