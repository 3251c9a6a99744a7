// hadal sweep as a user meets it: the plan, a whole sweep whose page stays when it is asked again, and what it refuses.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/expect_words.h"

namespace hadal {
namespace {

TEST(SweepVerb, PlansTrainsAndGoesOn) {
  const SmallRun small;
  const std::filesystem::path file = small.root() / "sweep.toml", run = small.run("sweep");
  atomic_write(file, read_file(small.config()) + R"(
[sweep]
budgets = [4e7]
learning_rates = [1e-3]
seeds = [1]
tolerance = 0.5
[[arm]]
name = "whole"
title = "with MTP"
[[arm]]
name = "bare"
[arm.model]
n_mtp = 0
)");
  const std::string sweep = "sweep " + SmallRun::quoted(file) + " --set train.batch_ramp=[] --run " +
                            SmallRun::quoted(run) + " --text " + SmallRun::quoted(small.text());
  const auto plan = run_hadal(sweep + " --plan");
  ASSERT_EQ(plan.code, 0) << plan.err;
  expect_words(plan.out, {"with MTP", "bare", "steps", "FLOP in all"});
  EXPECT_FALSE(std::filesystem::exists(run / "whole"));

  const auto first = run_hadal(sweep + " --quiet");
  ASSERT_EQ(first.code, 0) << first.err;
  expect_words(first.out, {"with MTP", "With 4e+07 FLOP a run, with MTP ends at", "; bare at", "report.html"});
  const std::string page = read_file(run / "report.html");
  expect_words(page, {"<!doctype html>", "Learning rates", "</html>"});
  const auto again = run_hadal(sweep + " --quiet");
  EXPECT_EQ(again.out, first.out);
  EXPECT_EQ(read_file(run / "report.html"), page);

  const auto other = run_hadal(sweep + " --set optim.weight_decay=0.3");
  EXPECT_EQ(other.code, 2);
  expect_words(other.err, {"optim.weight_decay"});
  const auto ranks = run_hadal(sweep + " --set parallel.dp=2");
  EXPECT_EQ(ranks.code, 2);
  expect_words(ranks.err, {"one rank"});
  const auto ramp = run_hadal("sweep " + SmallRun::quoted(file));
  EXPECT_EQ(ramp.code, 2);
  expect_words(ramp.err, {"arm 'whole'", "batch_ramp"});
}

}  // namespace
}  // namespace hadal
