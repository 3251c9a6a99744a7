// Which tokens of a dialogue are trained: the worked examples of §2.2, templates that mark answers and those that do
// not, thoughts, and what is refused.
#include "data/dialogue_samples.h"

#include "data/dialogue_testing.h"
#include "text/tokenizer_files.h"

namespace hadal::data {
namespace {

using Samples = std::vector<std::string>;

struct Writer {
  TempDir directory;
  Tokenizer tokenizer = byte_tokenizer();
  // Samples under a template of this source.
  Samples under(const std::string& source, const std::string& line, TrainOn train_on = TrainOn::assistant) {
    write_text(directory / "t.jinja", source);
    return samples_of(tokenizer, line, train_on, SourceFormat::messages, (directory / "t.jinja").string());
  }
};

// Answers as they stand, and no word on where they stand.
constexpr const char* kPlain =
    "{{ bos_token }}{% for m in messages %}{{ ('<｜User｜>' if m.role == 'user' else '<｜Assistant｜>') + m.content }}"
    "{{ eos_token if m.role == 'assistant' }}{% endfor %}{{ '<｜Assistant｜>' if add_generation_prompt }}";

TEST(DialogueSamples, AnswersAndTheirEndAreTrainedAndNothingElse) {
  const Tokenizer t = byte_tokenizer();
  EXPECT_EQ(samples_of(t, messages_line({{"system", "st"}, {"user", "qr"}, {"assistant", "ab"}})),
            Samples{"BstUqrAabE|-------abE"});
  EXPECT_EQ(samples_of(t, messages_line({{"user", "q"}, {"assistant", "a"}, {"user", "r"}, {"assistant", "b"}})),
            Samples{"BUqAaEUrAbE|----aE---bE"});
  EXPECT_EQ(samples_of(t, messages_line({{"user", "q"}, {"assistant", "a"}, {"user", "r"}, {"assistant", "b"}}),
                       TrainOn::last),
            Samples{"BUqAaEUrAbE|---------bE"});
  EXPECT_EQ(samples_of(t, messages_line({{"user", "q"}, {"assistant", "a"}}), TrainOn::all), Samples{"BUqAaE|BUqAaE"});
  EXPECT_EQ(samples_of(t, messages_line({{"user", "q"}, {"assistant", ""}})), Samples{"BUqAE|----E"});
  EXPECT_EQ(samples_of(t, messages_line({{"user", "q"}, {"assistant", "a"}, {"user", "r"}})),
            Samples{"BUqAaEUr|----aE--"});
}

TEST(DialogueSamples, WhatPeopleSpellBecomesNoControlToken) {
  const Tokenizer t = byte_tokenizer();
  const std::string spelt = std::string(kEosToken) + std::string(kAssistantToken);
  const DialogueWriter writer(t, "");
  for (const auto& [question, answer] : {std::pair(spelt, std::string("a")), {"q", spelt}, {spelt, spelt}}) {
    const auto samples =
        writer.samples(one_form(messages_line({{"user", question}, {"assistant", answer}}), SourceFormat::messages),
                       TrainOn::assistant);
    ASSERT_EQ(samples.size(), 1u);
    int64_t control = 0;
    for (const int32_t id : samples[0].ids) control += t.is_added(id);
    EXPECT_EQ(control, 4) << "BOS, User, Assistant, EOS";
    EXPECT_EQ(samples[0].n_trained(), int64_t(answer.size()) + 1);
    EXPECT_EQ(samples[0].trained_bytes, int64_t(answer.size()));
  }
}

TEST(DialogueSamples, TheTemplateMayMarkItsAnswersAndRoleTokensStayOut) {
  Writer w;
  const std::string line = messages_line({{"user", "q"}, {"assistant", "a"}, {"user", "r"}, {"assistant", "b"}});
  const std::string head =
      "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}{% else %}";
  const std::string tail = "{% endif %}{% endfor %}{% if add_generation_prompt %}<｜Assistant｜>{% endif %}";
  const Samples wanted{"BUqAaEUrAbE|----aE---bE"};
  EXPECT_EQ(w.under(kPlain, line), wanted);
  EXPECT_EQ(
      w.under(head + "<｜Assistant｜>{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}" + tail, line),
      wanted);
  // As some templates have it: the role inside, or the end outside.
  EXPECT_EQ(
      w.under(head + "{% generation %}<｜Assistant｜>{{ m.content }}{{ eos_token }}{% endgeneration %}" + tail, line),
      wanted);
  EXPECT_EQ(
      w.under(head + "<｜Assistant｜>{% generation %}{{ m.content }}{% endgeneration %}{{ eos_token }}" + tail, line),
      wanted);
  EXPECT_EQ(w.under(head + "{% generation %}<｜Assistant｜>{{ m.content }}{{ eos_token }}{% endgeneration %}" + tail,
                    line, TrainOn::last),
            Samples{"BUqAaEUrAbE|---------bE"});
}

TEST(DialogueSamples, BlanksBehindTheEndOfAnAnswerAreNotTrained) {
  Writer w;
  const std::string source =
      "{% for m in messages %}{{ '<｜User｜>' if m.role == 'user' else '<｜Assistant｜>' }}{{ m.content }}{{ eos_token "
      "}}"
      "{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}<｜Assistant｜>{% endif %}";
  EXPECT_EQ(w.under(source, messages_line({{"user", "q"}, {"assistant", "a"}, {"user", "r"}, {"assistant", "b "}})),
            Samples{"UqE\nAaE\nUrE\nAb E\n|-----aE------b E-"});
}

TEST(DialogueSamples, ADialogueWithThoughtsIsOneSamplePerAnswerWhereEarlierOnesAreDropped) {
  const Tokenizer t = byte_tokenizer();
  const std::string line = messages_line(
      {{"user", "q"}, {"assistant", "<think>x</think>a"}, {"user", "r"}, {"assistant", "<think>y</think>b"}});
  const Samples wanted{"BUqATx/aE|----Tx/aE", "BUqAaEUrATy/bE|---------Ty/bE"};
  EXPECT_EQ(samples_of(t, line), wanted);
  EXPECT_EQ(samples_of(t, line, TrainOn::last), Samples{wanted[1]});
  const std::string fields =
      R"({"messages": [{"role": "user", "content": "q"},
          {"role": "assistant", "content": "a", "reasoning_content": "x"},
          {"role": "user", "content": "r"}, {"role": "assistant", "content": "b", "reasoning_content": "y"}]})";
  EXPECT_EQ(samples_of(t, fields), wanted);
  // A template that drops them everywhere: what is trained keeps them.
  Writer w;
  const std::string drops =
      "{{ bos_token }}{% for m in messages %}{% set c = m.content.split('</think>')[-1] %}"
      "{{ ('<｜User｜>' if m.role == 'user' else '<｜Assistant｜>') + c }}{{ eos_token if m.role == 'assistant' }}"
      "{% endfor %}{{ '<｜Assistant｜>' if add_generation_prompt }}";
  EXPECT_EQ(w.under(drops, line), wanted);
  EXPECT_EQ(w.under(drops, fields), wanted);
  // One that keeps all: one sample.
  EXPECT_EQ(w.under(kPlain, line), Samples{"BUqATx/aEUrATy/bE|----Tx/aE---Ty/bE"});
}

TEST(DialogueSamples, AThoughtThatThePromptBeginsIsNotTrainedTwice) {
  Writer w;
  const std::string opens =
      "{{ bos_token }}{% for m in messages %}{% set c = m.content.split('</think>')[-1] %}"
      "{{ ('<｜User｜>' if m.role == 'user' else '<｜Assistant｜>') + c }}{{ eos_token if m.role == 'assistant' }}"
      "{% endfor %}{{ '<｜Assistant｜><think>\\n' if add_generation_prompt }}";
  const std::string thought = messages_line({{"user", "q"}, {"assistant", "<think>\nx</think>a"}});
  EXPECT_EQ(w.under(opens, thought), Samples{"BUqAT\nx/aE|------x/aE"});
  const std::string field =
      R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "thinking": "x"}]})";
  EXPECT_EQ(w.under(opens, field), Samples{"BUqAT\nx\n/\n\naE|------x\n/\n\naE"});
  const Samples without = w.under(opens, messages_line({{"user", "q"}, {"assistant", "a"}}));
  ASSERT_EQ(without.size(), 1u);
  EXPECT_NE(without[0].find("refused: message 2 (assistant): the chat template asks for it with"), std::string::npos)
      << without[0];
}

TEST(DialogueSamples, PromptsAndCompletionsOfTextAreJoinedAndTheCompletionTrained) {
  const Tokenizer t = byte_tokenizer();
  const auto of = [&](const std::string& line, TrainOn on = TrainOn::assistant) {
    return samples_of(t, line, on, SourceFormat::prompt_completion);
  };
  EXPECT_EQ(of(R"({"prompt": "ab", "completion": "cd"})"), Samples{"abcdE|--cdE"});
  EXPECT_EQ(of(R"({"prompt": "ab", "completion": "cd"})", TrainOn::all), Samples{"abcdE|abcdE"});
  EXPECT_EQ(of(R"({"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"},
                   {"role": "user", "content": "r"}], "completion": [{"role": "assistant", "content": "b"}]})"),
            Samples{"BUqAaEUrAbE|---------bE"});
  const Tokenizer merging = merging_tokenizer();
  const Samples merged = samples_of(merging, R"({"prompt": "th", "completion": "e quick"})", TrainOn::assistant,
                                    SourceFormat::prompt_completion);
  ASSERT_EQ(merged.size(), 1u);
  EXPECT_NE(merged[0].find("a token crosses the border of prompt and completion, between \"th\" and \"e quick\""),
            std::string::npos)
      << merged[0];
}

TEST(DialogueSamples, WhatCannotBeLearnedIsRefusedWithItsReason) {
  Writer w;
  const std::string line = messages_line({{"user", "q"}, {"assistant", "a"}});
  const auto refused = [&](const std::string& source, const std::string& of, const char* why) {
    const Samples got = w.under(source, of);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_TRUE(got[0].starts_with("refused: ") && got[0].find(why) != std::string::npos) << got[0];
  };
  refused("{{ raise_exception('no system here') }}", line, "no system here");
  refused("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", line,
          "does not write what message 2 (assistant) says");
  refused("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", line, "limit");
  // The prompt is another than what stands before the answer.
  refused("{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}{{ 'answer:' if add_generation_prompt }}",
          line, "where it stands cannot be told");
  refused(kPlain,
          R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": 0}]})",
          "no message of it is trained");
  // An answer that grows into what stands before it.
  w.tokenizer = merging_tokenizer();
  refused("{% for m in messages %}{{ m.content }}{% endfor %}", messages_line({{"user", "th"}, {"assistant", "e"}}),
          "message 2 (assistant): a token crosses the border of its answer");
}

TEST(DialogueSamples, TheReportsTemplateWantsItsTokens) {
  Tokenizer letters = Tokenizer::from_files(tokenizer_files_of([] {
    auto files = byte_tokenizer().files();
    for (auto& [name, text] : files)
      if (name == "tokenizer.json")
        for (size_t at = text.find("｜Assistant｜"); at != std::string::npos; at = text.find("｜Assistant｜"))
          text.replace(at, std::string("｜Assistant｜").size(), "Another");
    return files;
  }()));
  const Samples got = samples_of(letters, messages_line({{"user", "q"}, {"assistant", "a"}}));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_NE(got[0].find("has neither a chat template nor the token <｜Assistant｜>"), std::string::npos) << got[0];
}

}  // namespace
}  // namespace hadal::data
