// Phases of a configuration: what each becomes, and what is refused by name.
#include "config/phases.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/expect_words.h"
#include "base/files.h"
#include "base/testing.h"
#include "config/config_io.h"

namespace hadal {
namespace {

std::vector<PhaseKind> kinds() {
  const auto fine = [](const Phase&, const Phase*) {};
  return {{"plain", "", [](const Phase*) { return std::vector<std::string>(); }, fine},
          {"calm", "", [](const Phase*) { return std::vector<std::string>{"train.bias_update_speed=0"}; }, fine},
          {"never", "", [](const Phase*) { return std::vector<std::string>(); },
           [](const Phase&, const Phase*) { fail(ErrorKind::invalid, "never is not now"); }}};
}

PhasedConfig phases_of(const std::string& text, const std::vector<std::string>& set = {}) {
  const testing::TempDir folder;
  const std::string file = folder / "my.toml";
  atomic_write(file, text);
  return load_phases(file, kinds(), set);
}

std::string error_of(const std::string& text, const std::vector<std::string>& set = {}) {
  try {
    phases_of(text, set);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid);
    return error.what();
  }
  return "no error";
}

constexpr const char* kTwo = R"(
[optim]
lr = 0.01
[train]
steps = 7
bias_update_speed = 0.002
[[phase]]
name = "first"
kind = "plain"
[[phase]]
name = "second"
kind = "calm"
moments = "keep"
start = "average"
[phase.optim]
lr = 0.5
[phase.model]
max_positions = 9000
[[phase.data.sources]]
paths = ["x"]
)";

TEST(Phases, EachHasWhatIsCommonItsKindsDefaultsAndItsOwnWordsInThatOrder) {
  const PhasedConfig plan = phases_of(kTwo);
  ASSERT_EQ(plan.phases.size(), 2u);
  const Phase &first = plan.phases[0], &second = plan.phases[1];
  EXPECT_EQ(first.from, "");
  EXPECT_EQ(first.config.optim.lr, 0.01);
  EXPECT_EQ(first.config.train.bias_update_speed, 0.002);
  EXPECT_EQ(second.from, "first");
  EXPECT_TRUE(second.keeps_moments && second.starts_from_average);
  EXPECT_EQ(second.config.optim.lr, 0.5);
  EXPECT_EQ(second.config.train.steps, 7);
  EXPECT_EQ(second.config.train.bias_update_speed, 0);
  EXPECT_EQ(second.config.model.max_positions, 9000);
  EXPECT_EQ(second.config.data.sources.at(0).paths.at(0), "x");
}

TEST(Phases, TheModelIsThatOfThePhaseBefore) {
  const PhasedConfig plan = phases_of(std::string(kTwo) + "[[phase]]\nname = \"third\"\nkind = \"plain\"\n");
  EXPECT_EQ(plan.phases[2].config.model.max_positions, 9000);
  EXPECT_EQ(plan.phases[2].config.optim.lr, 0.01);  // but nothing else
  expect_words(
      error_of(std::string(kTwo) + "[[phase]]\nname = \"third\"\nkind = \"plain\"\nmodel.max_positions = 4000\n"),
      {"phase 'third'", "4000", "9000", "second"});
}

TEST(Phases, SetReachesAllOrOneAndIsKeptInTheText) {
  const PhasedConfig plan = phases_of(kTwo, {"train.steps=9", "phase.second.train.steps=3"});
  EXPECT_EQ(plan.phases[0].config.train.steps, 9);
  EXPECT_EQ(plan.phases[1].config.train.steps, 3);
  const PhasedConfig again = phases_of(plan.toml);
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(config_differences(plan.phases[i].config, again.phases[i].config).empty());
  expect_words(error_of(kTwo, {"phase.fourth.train.steps=3"}), {"no phase 'fourth'"});
  expect_words(error_of(kTwo, {"phase.second.model.hidden_size=3"}), {"'model.hidden_size'", "model.yarn"});
}

std::string with(const std::string& lines) {
  return "[[phase]]\nname = \"first\"\nkind = \"plain\"\n[[phase]]\n" + lines;
}

TEST(Phases, WhatCannotBeIsRefusedByName) {
  expect_words(error_of(with("kind = \"plain\"")), {"phase 2", "name"});
  expect_words(error_of(with("name = \"../x\"\nkind = \"plain\"")), {"phase 2", "../x"});
  expect_words(error_of(with("name = \"checkpoints\"\nkind = \"plain\"")), {"none of", "checkpoints"});
  expect_words(error_of(with("name = \"first\"\nkind = \"plain\"")), {"there is a phase 'first'"});
  expect_words(error_of(with("name = \"b\"\nkind = \"sleep\"")), {"phase 'b'", "sleep", "plain, calm, never"});
  expect_words(error_of(with("name = \"b\"\nkind = \"plain\"\nfrom = \"z\"")), {"phase 'b'", "\"z\"", "first"});
  expect_words(error_of("[[phase]]\nname = \"a\"\nkind = \"plain\"\nfrom = \"a\""), {"phase 'a'", "it is the first"});
  expect_words(error_of("[[phase]]\nname = \"a\"\nkind = \"plain\"\nmoments = \"keep\""), {"no phase before it"});
  expect_words(error_of(with("name = \"b\"\nkind = \"plain\"\nmoments = \"some\"")), {"some", "restart or keep"});
  expect_words(error_of(with("name = \"b\"\nkind = \"plain\"\n[phase.tokenizer]\nvocab_size = 9")), {"'tokenizer'"});
  expect_words(error_of(with("name = \"b\"\nkind = \"plain\"\n[phase.model]\nn_heads = 9")), {"'model.n_heads'"});
  expect_words(error_of(with("name = \"b\"\nkind = \"plain\"\n[phase.train]\nstep = 9")), {"phase 'b'", "train.step"});
  expect_words(error_of(with("name = \"b\"\nkind = \"plain\"\n[phase.train]\nsteps = -1")),
               {"phase 'b'", "train.steps"});
  expect_words(error_of(with("name = \"b\"\nkind = \"never\"")), {"phase 'b'", "never is not now"});
  expect_words(error_of(with("name = \"b\"\nkind = \"plain\"\nset = [3]")), {"phase 'b'", "KEY=VALUE"});
  expect_words(error_of("phase = 3"), {"[[phase]]"});
}

TEST(Phases, AReaderOfPlainConfigurationsSaysWhatItIs) {
  try {
    config_from_toml(kTwo, "my.toml");
    FAIL();
  } catch (const Error& error) {
    expect_words(error.what(), {"my.toml", "phases", "hadal train"});
  }
}

}  // namespace
}  // namespace hadal
