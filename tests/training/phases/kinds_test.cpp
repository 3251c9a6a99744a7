// What the kinds of phases bring and refuse.
#include "phases/kinds.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/expect_words.h"
#include "base/files.h"
#include "base/testing.h"
#include "config/config_io.h"
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

TEST(PhaseKinds, EveryShippedFileWithPhasesIsValid) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(HADAL_SOURCE_DIR) + "/configs")) {
    if (entry.path().extension() != ".toml" || !has_phases(entry.path().string())) continue;
    EXPECT_NO_THROW(load_phases(entry.path().string(), training_kinds())) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 1);
}

}  // namespace
}  // namespace hadal
