// Files of sweeps: what is common, what an arm may say, what is refused.
#include "config/sweep.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/expect_words.h"
#include "base/files.h"
#include "base/testing.h"

namespace hadal {
namespace {

constexpr const char* kCommon = R"(
run = "runs/none"
[data]
sequence_length = 64
[model]
n_mtp = 1
[optim]
lr = 0.5
)";
constexpr const char* kSweep = R"(
[sweep]
budgets = [1e9, 4e9]
learning_rates = [1e-3, 3e-3]
)";
constexpr const char* kArms = R"(
[[arm]]
name = "v3"
title = "V3-style"
[[arm]]
name = "plain"
set = ["model.n_mtp=0"]
[arm.optim]
weight_decay = 0.25
)";

Sweep sweep_of(const std::string& text, const std::vector<std::string>& set = {}) {
  const testing::TempDir folder;
  const std::string file = folder / "my.toml";
  atomic_write(file, text);
  return load_sweep(file, set);
}

std::string error_of(const std::string& text, const std::vector<std::string>& set = {}) {
  try {
    sweep_of(text, set);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

const std::string kAll = std::string(kCommon) + kSweep + kArms;

TEST(SweepFile, AnArmIsTheCommonConfigurationWithItsOwnKeysOnTop) {
  const Sweep sweep = sweep_of(kAll);
  EXPECT_EQ(sweep.run, "runs/none");
  EXPECT_EQ(sweep.config.budgets, (std::vector<double>{1e9, 4e9}));
  EXPECT_EQ(sweep.config.seeds, (std::vector<int64_t>{1, 2, 3}));
  ASSERT_EQ(sweep.arms.size(), 2u);
  EXPECT_EQ(sweep.arms[0].title, "V3-style");
  EXPECT_EQ(sweep.arms[0].config.model.n_mtp, 1);
  EXPECT_EQ(sweep.arms[1].title, "plain");
  EXPECT_EQ(sweep.arms[1].config.model.n_mtp, 0);
  EXPECT_EQ(sweep.arms[1].config.optim.weight_decay, 0.25);
  EXPECT_EQ(sweep.arms[1].config.optim.lr, 0.5);
  EXPECT_EQ(&sweep.baseline(), &sweep.arms[0]);
}

TEST(SweepFile, AssignmentsGoToTheCommonPartOneArmOrTheSweep) {
  const Sweep sweep = sweep_of(kAll, {"sweep.budgets=[7e9]", "sweep.baseline=\"plain\"", "data.sequence_length=32",
                                      "arm.plain.model.n_layers=9"});
  EXPECT_EQ(sweep.config.budgets, std::vector<double>{7e9});
  EXPECT_EQ(sweep.baseline().name, "plain");
  EXPECT_EQ(sweep.arms[0].config.data.sequence_length, 32);
  EXPECT_EQ(sweep.arms[1].config.model.n_layers, 9);
  EXPECT_NE(sweep.arms[0].config.model.n_layers, 9);
  expect_words(error_of(kAll, {"arm.other.model.n_layers=9"}), {"arm.other.model.n_layers=9", "v3, plain"});
  expect_words(error_of(kAll, {"arm.plain=9"}), {"arm.NAME.KEY=VALUE"});
}

TEST(SweepFile, RefusesWhatMakesNoComparison) {
  const std::string common = kCommon, arms = kArms;
  expect_words(error_of(common + kSweep), {"no [[arm]]"});
  expect_words(error_of(common + arms), {"sweep.budgets", "empty"});
  expect_words(error_of(kAll, {"sweep.budgets=[4e9,1e9]"}), {"sweep.budgets", "ascending", "4000000000, 1000000000"});
  expect_words(error_of(kAll, {"sweep.learning_rates=[0.0]"}), {"sweep.learning_rates", "positive"});
  expect_words(error_of(kAll, {"sweep.seeds=[1,1]"}), {"sweep.seeds", "twice"});
  expect_words(error_of(kAll, {"sweep.baseline=\"v4\""}), {"v4", "v3, plain"});
  expect_words(error_of(kAll + "[[evaluation.tasks]]\nname = \"recall\"\n"), {"[evaluation]", "asks no tasks"});
  expect_words(error_of(kAll, {"sweep.budget=[1e9]"}), {"unknown key 'budget'", "budgets"});
  expect_words(error_of(kAll + "[[arm]]\nname = \"v3\"\n"), {"arm 3", "'v3' before it"});
  expect_words(error_of(kAll + "[[arm]]\nname = \"data\"\n"), {"name = \"data\""});
  expect_words(error_of(kAll + "[[arm]]\nname = \"x\"\nlr = 1\n"), {"arm 'x'", "'lr'", "optim"});
  expect_words(error_of(kAll + "[[arm]]\nname = \"x\"\nset = [\"data.seed=2\"]\n"), {"arm 'x'", "data.seed"});
  expect_words(error_of(kAll + "[[arm]]\nname = \"x\"\n[arm.train]\nbatch_sequences = 3\n"),
               {"arm 'x'", "batch_sequences = 3", "the same text"});
  expect_words(error_of(kAll + "[[arm]]\nname = \"x\"\n[arm.model]\nn_heads = 0\n"), {"arm 'x'", "n_heads"});
}

}  // namespace
}  // namespace hadal
