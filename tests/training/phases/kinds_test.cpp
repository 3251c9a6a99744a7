// What the kinds of phases bring and refuse.
#include "phases/kinds.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/expect_words.h"
#include "base/files.h"
#include "base/testing.h"
#include "config/config_io.h"
#include "config/sweep.h"
#include "optim/curves.h"
#include "phases/phase_text.h"
#include "phases/phase_walk.h"

namespace hadal {
namespace {

PhasedConfig phases_of(const std::string& more) {
  const testing::TempDir folder;
  const std::string file = folder / "my.toml";
  atomic_write(file, R"(
[data]
sequence_length = 128
[model]
max_positions = 128
[optim]
lr = 0.01
[[phase]]
name = "base"
kind = "pretrain"
[[phase]]
name = "longer"
kind = "extend"
[phase.data]
sequence_length = 1024
[phase.model]
max_positions = 4096
yarn = { factor = 40.0, original_positions = 128 }
)" + more);
  return load_phases(file, training_kinds());
}

std::string error_of(const std::string& more) {
  try {
    phases_of(more);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(PhaseKinds, AnExtensionGoesOnAtTheLearningRateWhereTrainingEnded) {
  const PhasedConfig plan = phases_of("");
  const OptimConfig& optim = plan.phases[1].config.optim;
  EXPECT_NEAR(optim.lr, 0.001, 1e-12);  // a tenth of the peak, by the usual schedule
  ASSERT_EQ(optim.lr_schedule.size(), 1u);
  EXPECT_EQ(optim.lr_schedule[0].shape, CurveShape::constant);
}

TEST(PhaseKinds, FineTuningLeavesTheRoutersBiasAlone) {
  const PhasedConfig plan = phases_of("[[phase]]\nname = \"chat\"\nkind = \"sft\"\n");
  const Config& config = plan.phases[2].config;
  EXPECT_EQ(config.train.bias_update_speed, 0);
  EXPECT_EQ(config.data.document_mask, DocumentMask::document);
  EXPECT_EQ(config.data.at_end, AtEnd::stop);
  EXPECT_EQ(config.model.yarn.factor, 40);
}

TEST(PhaseKinds, YarnReachesTheContextFromTheLengthThatWasTrainedAndStays) {
  const std::string next = "[[phase]]\nname = \"longest\"\nkind = \"extend\"\n";
  EXPECT_EQ(error_of(next + "data.sequence_length = 4096\n"), "no error");
  expect_words(error_of(next + "data.sequence_length = 512\n"), {"phase 'longest'", "512", "1024", "longer"});
  expect_words(error_of(next + "data.sequence_length = 4096\nmodel.yarn.factor = 32.0\n"),
               {"phase 'longest'", "longer", "factor 40 of 128"});
  expect_words(error_of(next + "data.sequence_length = 8192\nmodel.max_positions = 8192\n"),
               {"phase 'longest'", "8192", "at least 64"});
  const std::string other =
      "[[phase]]\nname = \"other\"\nkind = \"extend\"\nfrom = \"base\"\ndata.sequence_length = 256\n"
      "model.max_positions = 256\n";
  EXPECT_EQ(error_of(other), "no error");  // without YaRN
  expect_words(error_of(other + "model.yarn = { factor = 2.0, original_positions = 100 }\n"),
               {"phase 'other'", "original_positions = 100", "128"});
}

// Under another YaRN the weights would see other angles than they were trained with, whatever the kind.
TEST(PhaseKinds, NoKindOfPhaseChangesTheYarnThatWeightsWereTrainedUnder) {
  for (const std::string kind : {"sft", "pretrain"}) {
    const std::string next = "[[phase]]\nname = \"next\"\nkind = \"" + kind + "\"\n";
    EXPECT_EQ(error_of(next), "no error");
    for (const char* change : {"factor = 1", "factor = 16.0", "beta_fast = 16.0", "original_positions = 256"})
      expect_words(error_of(next + "model.yarn." + change + "\n"), {"phase 'next'", "longer", "factor 40 of 128"});
    EXPECT_EQ(error_of(next + "from = \"base\"\n"), "no error");  // whose weights know none
    expect_words(error_of(next + "from = \"base\"\nmodel.yarn = { factor = 2.0, original_positions = 64 }\n"),
                 {"phase 'next'", "original_positions = 64", "128"});
  }
}

TEST(PhaseKinds, FineTuningAsksForDialogues) {
  const std::string chat = "[[phase]]\nname = \"chat\"\nkind = \"sft\"\n[[phase.data.sources]]\npaths = [\"a.txt\"]\n";
  expect_words(error_of(chat), {"phase 'chat'", "dialogues", "a.txt", "format"});
  EXPECT_EQ(error_of(chat + "format = \"alpaca\"\n"), "no error");
  EXPECT_EQ(error_of(chat + "[[phase.data.sources]]\npaths = [\"b.jsonl\"]\nformat = \"messages\"\n"), "no error");
}

const std::string kControl = "[[phase]]\nname = \"plain\"\ncontrol_of = \"longer\"\n";

TEST(PhaseControls, IsThePhaseWithoutYarnAndNothingElseDiffers) {
  const PhasedConfig plan = phases_of(kControl + "[[phase]]\nname = \"chat\"\nkind = \"sft\"\n");
  ASSERT_EQ(plan.phases.size(), 4u);
  const Phase &longer = plan.phases[1], &plain = plan.phases[2];
  EXPECT_EQ(plain.from, "base");
  EXPECT_EQ(plain.control_of, "longer");
  EXPECT_EQ(plain.kind, "extend");
  EXPECT_EQ(plain.config.model.yarn.factor, 1);
  Config same = plain.config;
  same.model.yarn = longer.config.model.yarn;
  EXPECT_EQ(config_to_toml(same), config_to_toml(longer.config));
  EXPECT_NE(config_to_toml(plain.config), config_to_toml(longer.config));
  EXPECT_EQ(plan.phases[3].from, "longer") << "the main line goes on without the control";
  EXPECT_EQ(plan.phases[3].config.model.yarn.factor, 40);
  EXPECT_EQ(plan.control_of("longer"), &plain);
  EXPECT_EQ(plan.control_of("base"), nullptr);
}

TEST(PhaseControls, OfALaterExtensionGoesOnFromTheControlOfTheEarlierOne) {
  const std::string longest = "[[phase]]\nname = \"longest\"\nkind = \"extend\"\ndata.sequence_length = 4096\n";
  const std::string later = "[[phase]]\nname = \"plainest\"\ncontrol_of = \"longest\"\n";
  EXPECT_EQ(phases_of(longest + kControl + later).phases.back().from, "plain");
  expect_words(error_of(longest + later),
               {"phase 'plainest'", "'longest' starts from 'longer'", "a control of 'longer'"});
}

TEST(PhaseControls, AreRefusedWhereTheyWouldShowNothing) {
  const auto of = [](const std::string& name) {
    return "[[phase]]\nname = \"plain\"\ncontrol_of = \"" + name + "\"\n";
  };
  expect_words(error_of(of("base")), {"phase 'plain'", "control_of = \"base\"", "under YaRN: longer"});
  expect_words(error_of(of("nobody")), {"control_of = \"nobody\"", "under YaRN: longer"});
  expect_words(error_of(kControl + "train.steps = 3\n"), {"phase 'plain'", "'train' beside control_of"});
  expect_words(error_of(kControl + "kind = \"extend\"\n"), {"'kind' beside control_of"});
  expect_words(error_of(kControl + "[[phase]]\nname = \"again\"\ncontrol_of = \"longer\"\n"),
               {"phase 'again'", "has a control already"});
  expect_words(error_of(kControl + "[[phase]]\nname = \"chat\"\nkind = \"sft\"\nfrom = \"plain\"\n"),
               {"phase 'chat'", "from = \"plain\"", "base, longer; that one is a control"});
}

TEST(PhaseControls, StandOnNoAxisOfThePlan) {
  const std::string alone = draw_phases(phases_of("")), beside = draw_phases(phases_of(kControl));
  expect_words(beside, {"plain", "extend, control of longer", "more in controls"});
  const auto axis = [](const std::string& plan) { return plan.substr(plan.find("\nlearning rate")); };
  EXPECT_EQ(axis(alone), axis(beside));
}

TEST(PhaseKinds, ThePlanShowsAllPhasesOnOneAxis) {
  const std::string plan = draw_phases(phases_of("[[phase]]\nname = \"chat\"\nkind = \"sft\"\n"));
  expect_words(plan, {"base", "longer", "chat", "(x 40)", "learning rate", "context: 128 at the start"});
}

// Where the model's vocabulary is not written and steps are told by epochs.
TEST(PhaseKinds, ThePlanCountsTokensAndFlopsOfWhatIsNotTokenisedYet) {
  const testing::TempDir folder;
  atomic_write(folder / "chats.jsonl", "");
  std::filesystem::resize_file(folder / "chats.jsonl", 40 << 20);
  const auto chat = [&](const std::string& paths) {
    return phases_of(
        "[[phase]]\nname = \"chat\"\nkind = \"sft\"\ndata.epochs = 3\ntrain.batch_sequences = 8\n"
        "[[phase.data.sources]]\nname = \"chats\"\nformat = \"messages\"\npaths = [\"" +
        paths + "\"]\n");
  };
  const PhasedConfig plan = chat(folder / "chats.jsonl");
  const PhaseSize base = phase_size(plan, plan.phases[0]), tuned = phase_size(plan, plan.phases[2]);
  EXPECT_EQ(base.vocab_size, 4096);  // of the tokenizer that will be trained
  EXPECT_FALSE(base.vocab_guessed || base.tokens_guessed);
  EXPECT_EQ(tuned.tokens, 3 * (10 << 20));
  EXPECT_EQ(tuned.steps, 3 * (10 << 20) / (8 * 128));
  EXPECT_TRUE(tuned.tokens_guessed);
  const std::string drawn = draw_phases(plan);
  EXPECT_EQ(drawn.substr(0, drawn.find("\n\n")).find(" - "), std::string::npos) << drawn;
  expect_words(drawn,
               {"3 epochs", "about 31.5 M", "1.08e-05 to 0.001", "about 6.95e+14", "about 49.9 M tokens in all"});
  EXPECT_NE(draw_phases(chat("nowhere.jsonl")).find(" - "), std::string::npos);
}

TEST(PhaseKinds, EveryShippedFileWithPhasesIsValid) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(HADAL_SOURCE_DIR) + "/configs")) {
    if (entry.path().extension() != ".toml" || !has_phases(entry.path().string())) continue;
    EXPECT_NO_THROW(load_phases(entry.path().string(), training_kinds())) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 1);
}

double rate_of(const Config& config, double share) {  // 0: of the first step, 1: of the last
  const int64_t steps = config.train.steps > 0 ? config.train.steps : 1000;
  return learning_rate(config.optim, 1 + int64_t(share * double(steps - 1)), steps);
}

// §4.2, §4.3 and §5.1 of the report.
TEST(PhaseKinds, TheWholeLifeOfV3HasTheReportsLearningRates) {
  const PhasedConfig life = load_phases(std::string(HADAL_SOURCE_DIR) + "/configs/v3-life.toml", training_kinds());
  ASSERT_EQ(life.phases.size(), 4u);
  const std::vector<std::pair<double, double>> rates = {
      {2.2e-4 / 2000, 7.3e-6}, {7.3e-6, 7.3e-6}, {7.3e-6, 7.3e-6}, {5e-6, 1e-6}};
  for (size_t i = 0; i < rates.size(); ++i) {
    const Config& config = life.phases[i].config;
    EXPECT_NEAR(rate_of(config, 0), rates[i].first, 1e-4 * rates[i].first) << life.phases[i].name;
    EXPECT_NEAR(rate_of(config, 1), rates[i].second, 1e-4 * rates[i].second) << life.phases[i].name;
  }
}

void expect_rate_is_reached(const Config& config, const std::string& what) {
  double peak = 0;
  for (int i = 0; i <= 1000; ++i) peak = std::max(peak, rate_of(config, i / 1000.0));
  EXPECT_NEAR(peak, config.optim.lr, 1e-3 * config.optim.lr) << what;
}

// Of a file of any sort: its phases, its arms, or the one that it is.
std::vector<Config> configs_of(const std::string& file) {
  std::vector<Config> all;
  if (has_phases(file))
    for (const Phase& phase : load_phases(file, training_kinds()).phases) all.push_back(phase.config);
  else if (read_file(file).find("[[arm]]") != std::string::npos)
    for (const SweepArm& arm : load_sweep(file).arms) all.push_back(arm.config);
  else
    all.push_back(load_config(file));
  return all;
}

// A schedule that starts with a fall from nowhere never comes to the rate it is a share of.
TEST(PhaseKinds, EveryShippedScheduleReachesItsLearningRate) {
  const std::filesystem::path root = HADAL_SOURCE_DIR;
  for (const auto& entry : std::filesystem::directory_iterator(root / "configs")) {
    if (entry.path().extension() != ".toml") continue;
    for (const Config& config : configs_of(entry.path())) expect_rate_is_reached(config, entry.path());
  }
  const testing::TempDir folder;
  int shown = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root / "docs")) {
    if (entry.path().extension() != ".md") continue;
    const std::string page = read_file(entry.path());
    for (size_t at = page.find("```toml\n"); at != std::string::npos; at = page.find("```toml\n", at + 1)) {
      const std::string block = page.substr(at + 8, page.find("\n```", at + 8) - at - 7);
      if (block.find("lr_schedule = [") == std::string::npos) continue;
      atomic_write(folder / "shown.toml", block);
      expect_rate_is_reached(load_config(folder / "shown.toml"), entry.path().string() + ":\n" + block);
      ++shown;
    }
  }
  EXPECT_GE(shown, 1);
}

}  // namespace
}  // namespace hadal
