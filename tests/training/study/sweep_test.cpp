// Compute multipliers against losses that are made to have one, and a sweep of two small models: what it runs, where it
// goes on, what it says.
#include "study/sweep.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "base/expect_words.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "base/thread_pool.h"
#include "study/compute_multiplier.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

// L = 5 - 0.3 ln(C / 1e9 * worth) + noise of the seed, which both models share, + noise of its own.
LossesByFlops losses(double worth, double shared, double own, uint64_t stream) {
  LossesByFlops all{{1e9, 3e9, 9e9}, {}};
  for (size_t b = 0; b < 3; ++b) {
    all.losses.emplace_back();
    for (uint64_t seed = 0; seed < 3; ++seed)
      all.losses.back().push_back(5 - 0.3 * std::log(all.flops[b] / 1e9 * worth) +
                                  shared * random_normal(7, 1, b * 3 + seed) +
                                  own * random_normal(7, stream, b * 3 + seed));
  }
  return all;
}

TEST(ComputeMultiplier, IsWhatTheBaselineWouldNeedToReachTheSameLoss) {
  for (const double worth : {0.5, 1.0, 2.5}) {
    const ComputeMultiplier m = compute_multiplier(losses(worth, 0, 0, 2), losses(1, 0, 0, 3), 2);
    EXPECT_NEAR(m.value, worth, 1e-9);
    EXPECT_NEAR(m.low, worth, 1e-9);
    EXPECT_NEAR(m.high, worth, 1e-9);
  }
}

TEST(ComputeMultiplier, NoiseThatSeedsShareCancelsAndTheirOwnWidensTheInterval) {
  // The same runs on both sides: no seed can tell them apart, whatever the noise.
  const ComputeMultiplier same = compute_multiplier(losses(1, 0.1, 0, 2), losses(1, 0.1, 0, 3), 2);
  EXPECT_EQ(same.low, 1);
  EXPECT_EQ(same.high, 1);
  const ComputeMultiplier own = compute_multiplier(losses(2, 0.02, 0.1, 2), losses(1, 0.02, 0.1, 3), 2);
  EXPECT_LT(own.low, own.value);
  EXPECT_GT(own.high, own.value);
  const ComputeMultiplier again = compute_multiplier(losses(2, 0.02, 0.1, 2), losses(1, 0.02, 0.1, 3), 2);
  EXPECT_EQ(again.low, own.low);
}

TEST(ComputeMultiplier, IsNotToldOfOneBudgetOrABaselineThatDoesNotFall) {
  LossesByFlops one{{1e9}, {{2.0, 2.1}}}, rising{{1e9, 2e9}, {{2.0, 2.0}, {2.2, 2.2}}};
  EXPECT_FALSE(compute_multiplier(one, one, 0).told());
  EXPECT_FALSE(compute_multiplier(rising, rising, 1).told());
}

class SweepTest : public ::testing::Test {
 protected:
  SweepTest() : root_(fs::temp_directory_path() / fmt::format("hadal_sweep_run_{}", getpid())) {
    make_directories(root_);
    std::string text;
    const char* words[] = {"the ", "cat ", "sat ", "on ", "a ", "mat, ", "and ", "sang.\n"};
    for (uint64_t i = 0; i < 6000; ++i) text += words[random_below(1, 1, i, 8)];
    atomic_write(root_ / "text.txt", text);
    atomic_write(root_ / "sweep.toml", fmt::format(R"(
run = "{0}/runs"
[tokenizer]
vocab_size = 280
[data]
sequence_length = 32
holdout = "tail"
holdout_fraction = 0.05
[[data.sources]]
name = "words"
paths = ["{0}/text.txt"]
[model]
hidden_size = 16
n_layers = 1
n_dense_layers = 1
n_heads = 2
q_lora_rank = 0
kv_lora_rank = 8
qk_nope_head_dim = 8
qk_rope_head_dim = 4
v_head_dim = 8
dense_ffn_size = 32
n_routed_experts = 4
n_experts_per_token = 2
expert_ffn_size = 16
n_groups = 1
n_limited_groups = 1
max_positions = 64
n_mtp = 0
[train]
precision = "fp32"
batch_sequences = 4
[validation]
samples = 0
[sweep]
budgets = [8e7, 1.6e8]
learning_rates = [1e-3, 1e-2]
seeds = [1, 2]
[[arm]]
name = "plain"
[[arm]]
name = "deep"
[arm.model]
n_layers = 2
)",
                                                   root_.string()));
  }
  ~SweepTest() override {
    clear_interrupt();
    fs::remove_all(root_);
  }

  Sweep load(const std::vector<std::string>& set = {}) const {
    std::vector<std::string> all = {"sweep.tolerance=1.0"};
    all.insert(all.end(), set.begin(), set.end());
    return load_sweep((root_ / "sweep.toml").string(), all);
  }

  fs::path root_;
  OwnedExec exec_{1};
};

std::string plan_error(const Sweep& sweep) {
  try {
    plan_sweep(sweep, 280);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(SweepTest, RefusesArmsOfOtherFlopsAndBudgetsBelowAStep) {
  expect_words(plan_error(load({"sweep.tolerance=0.02"})), {"'plain'", "'deep'", "% more", "allows 2 %"});
  expect_words(plan_error(load({"sweep.budgets=[1e5]"})), {"sweep.budgets", "less than a step", "128 tokens"});
}

TEST_F(SweepTest, StepsSpendTheBudget) {
  const SweepResult plan = plan_sweep(load(), 280);
  for (const SweptArm& arm : plan.arms) {
    EXPECT_DOUBLE_EQ(arm.training_flops, 3 * arm.forward_flops);
    for (const SweepRun& run : arm.runs)
      EXPECT_NEAR(double(run.steps) * 128 * arm.training_flops / run.budget, 1, 0.5 / double(run.steps));
  }
}

TEST_F(SweepTest, GoesOnWhereItWasStoppedWithTheSameResults) {
  SweepResult whole = plan_sweep(load(), 280);
  int64_t steps = 0;
  run_sweep(whole, exec_.exec, {.step = [&](double, const std::string&) { ++steps; }});
  ASSERT_TRUE(whole.complete());
  int64_t planned = 0;
  for (const SweptArm& arm : whole.arms) {
    EXPECT_GT(arm.learning_rate, 0);
    EXPECT_EQ(arm.runs[0].bits_per_byte, std::min(arm.tries[0].bits_per_byte, arm.tries[1].bits_per_byte));
    EXPECT_NE(arm.runs[0].bits_per_byte, arm.runs[1].bits_per_byte);  // another seed
    for (const SweepRun& run : arm.tries) planned += run.steps;
    for (size_t i = 1; i < arm.runs.size(); ++i) planned += arm.runs[i].steps;
  }
  EXPECT_EQ(steps, planned);
  EXPECT_EQ(whole.done_flops(), whole.all_flops());

  SweepResult again = plan_sweep(load({fmt::format("run={}/again", root_.string())}), 280);
  int64_t left = planned / 2;
  SweepOptions stopping;
  stopping.step = [&](double, const std::string&) {
    if (--left == 0) request_interrupt();
  };
  {
    const CleanStop clean("stopping");
    run_sweep(again, exec_.exec, stopping);
  }
  EXPECT_FALSE(again.complete());
  EXPECT_EQ(sweep_sentence(again), "");
  clear_interrupt();
  SweepResult resumed = plan_sweep(load({fmt::format("run={}/again", root_.string())}), 280);
  int64_t more = 0;
  run_sweep(resumed, exec_.exec, {.step = [&](double, const std::string&) { ++more; }});
  EXPECT_EQ(more, planned - planned / 2);
  for (size_t a = 0; a < whole.arms.size(); ++a)
    for (size_t i = 0; i < whole.arms[a].runs.size(); ++i)
      EXPECT_EQ(whole.arms[a].runs[i].bits_per_byte, resumed.arms[a].runs[i].bits_per_byte);

  expect_words(sweep_sentence(whole), {"With 1.6e+08 FLOP a run, plain ends at", "deep at", "times its FLOPs"});
  expect_words(sweep_table(whole), {"plain", "deep", "compute multiplier"});
  const std::string page = sweep_page(whole);
  expect_words(page, {"<svg", "Learning rates", "Compute multipliers over plain", "</html>"});
}

TEST_F(SweepTest, ARunOfAnotherConfigurationIsRefused) {
  SweepResult first = plan_sweep(load({"sweep.seeds=[1]", "sweep.budgets=[8e7]"}), 280);
  run_sweep(first, exec_.exec, {});
  SweepResult other = plan_sweep(load({"sweep.seeds=[1]", "sweep.budgets=[8e7]", "optim.weight_decay=0.3"}), 280);
  try {
    run_sweep(other, exec_.exec, {});
    FAIL() << "no error";
  } catch (const Error& error) {
    expect_words(error.what(), {"weight_decay"});
  }
}

TEST_F(SweepTest, ThePageEscapesTitles) {
  Sweep sweep = load();
  sweep.arms[0].title = "<b>&";
  SweepResult plan = plan_sweep(sweep, 280);
  const std::string page = sweep_page(plan);
  EXPECT_EQ(page.find("<b>&"), std::string::npos);
  expect_words(page, {"&lt;b&gt;&amp;", "Not all runs have ended"});
}

}  // namespace
}  // namespace hadal
