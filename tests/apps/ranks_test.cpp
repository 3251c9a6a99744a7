// Ranks as a user meets them: hadal train --ranks, runs that go on with another number, and hadal check layouts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/last_checkpoint.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "base/files.h"
#include "base/json.h"
#include "base/testing.h"
#include "base/text_format.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

using testing::has;

double last_loss(const fs::path& run) { return steps_of(run).back()["loss"].get<double>(); }

TEST(Ranks, TrainOneRunTogetherAndSaySo) {
  const SmallRun small;
  const auto one = run_hadal(small.train("one", "--steps 8"));
  ASSERT_EQ(one.code, 0) << one.err;
  const auto two = run_hadal("train " + SmallRun::quoted(small.config()) + " --text " + SmallRun::quoted(small.text()) +
                             " --run " + SmallRun::quoted(small.run("two")) + " --steps 8 --ranks 2");
  ASSERT_EQ(two.code, 0) << two.err;
  EXPECT_TRUE(has(two.err, "layout dp=2: 2 ranks")) << two.err;
  EXPECT_EQ(steps_of(small.run("two")).size(), 8u) << "one rank alone writes metrics";
  // BF16, eight steps: as near as the order of sums lets it be
  EXPECT_NEAR(last_loss(small.run("two")), last_loss(small.run("one")), 0.02);
}

// Where one micro-batch makes a step, the other ranks add zeros: then nothing may differ, not a byte of a file.
TEST(Ranks, CheckpointsKnowNoLayout) {
  const SmallRun small;
  const std::string narrow = "--steps 5 --set train.batch_sequences=2 --set train.batch_ramp=[]";
  ASSERT_EQ(run_hadal(small.train("one", narrow)).code, 0);
  const auto wanted = last_checkpoint(small.run("one"));
  ASSERT_GT(wanted.size(), 5u);
  for (const char* ranks : {"2", "3"}) {
    const auto result = run_hadal(small.train(ranks, narrow + " --ranks " + ranks));
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(last_checkpoint(small.run(ranks)), wanted) << ranks << " ranks";
  }
}

TEST(Ranks, ARunGoesOnWithAnotherNumberOfThem) {
  const SmallRun small;
  const std::string narrow = "--set train.batch_sequences=2 --set train.batch_ramp=[] ";
  ASSERT_EQ(run_hadal(small.train("whole", narrow + "--steps 6")).code, 0);
  ASSERT_EQ(run_hadal(small.train("changing", narrow + "--steps 6 --stop-after 2")).code, 0);
  const std::string on = "train " + SmallRun::quoted(small.run("changing")) + " --quiet ";
  ASSERT_EQ(run_hadal(on + "--ranks 3 --stop-after 4").code, 0);
  const auto last = run_hadal("train " + SmallRun::quoted(small.run("changing")) + " --layout dp=2");
  ASSERT_EQ(last.code, 0) << last.err;
  EXPECT_TRUE(has(last.err, "from step 5 on: parallel.dp: 3 -> 2")) << last.err;
  EXPECT_EQ(last_checkpoint(small.run("changing")), last_checkpoint(small.run("whole")));
}

TEST(Ranks, StoppedAndResumedHasTheBitsOfUninterrupted) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("whole", "--steps 6 --ranks 2")).code, 0);
  ASSERT_EQ(run_hadal(small.train("stopped", "--steps 6 --ranks 2 --stop-after 3")).code, 0);
  const auto on = run_hadal("train " + SmallRun::quoted(small.run("stopped")) + " --quiet");
  ASSERT_EQ(on.code, 0) << on.err;
  EXPECT_EQ(last_checkpoint(small.run("stopped")), last_checkpoint(small.run("whole")));
}

TEST(Ranks, NaNWithStopEndsAllWithOneLine) {
  for (const char* layout : {"dp=3", "dp=2,pp=2,ep=2"}) {
    const SmallRun small;
    const auto stopped = run_hadal(small.train("run", std::string("--layout ") + layout +
                                                          " --steps 30 --set train.on_nan=stop --set optim.clip=0 "
                                                          "--set optim.lr=100 --set model.init_std=10 "
                                                          "--set train.precision=fp32"));
    EXPECT_EQ(stopped.code, 1);
    EXPECT_TRUE(stopped.err.starts_with("hadal: error: rank 0: step ")) << stopped.err;
    EXPECT_TRUE(stopped.err.ends_with("; stopped, because train.on_nan = \"stop\"\n")) << stopped.err;
    EXPECT_EQ(std::count(stopped.err.begin(), stopped.err.end(), '\n'), 1) << stopped.err;
    for (int rank = 0; rank < 3; ++rank)
      EXPECT_TRUE(has(read_file(small.run() / "logs" / fmt::format("rank_{:04d}.log", rank)), "train.on_nan")) << rank;
  }
}

TEST(Ranks, ATraceShowsWhatEachDidWhen) {
  const SmallRun small;
  const std::string file = (small.root() / "trace.json").string();
  const auto result =
      run_hadal(small.train("run",
                            "--steps 4 --layout dp=2,ep=2,pp=2,schedule=dualpipe --set train.batch_ramp=[] "
                            "--set train.batch_sequences=16 --set train.micro_batch_sequences=1 --trace " +
                                SmallRun::quoted(file)));
  ASSERT_EQ(result.code, 0) << result.err;
  const auto trace = parse_json(read_file(file), "the trace");
  std::map<int, std::map<std::string, int>> of_rank;
  for (const auto& event : trace["traceEvents"]) ++of_rank[event["tid"]][event["name"]];
  ASSERT_EQ(of_rank.size(), 4u);
  for (auto& [rank, events] : of_rank) {
    EXPECT_EQ(events["thread_name"], 1);
    EXPECT_EQ(events["attention F"], 3 * 8 + 3 * 4) << "stages of four micro-batches each way, MTP's among them";
    EXPECT_EQ(events["dispatch wait F"], events["combine start B"]);
    EXPECT_GT(events["receive B"] + events["receive F"], 0);
  }
  const auto waits = steps_of(small.run("run"))[1]["waits"];
  EXPECT_LE(waits["pipeline"].get<double>(), 1);
  for (const char* kind : {"gradients", "values", "pipeline", "experts"}) {
    ASSERT_TRUE(waits["traffic"].contains(kind)) << kind << json_text(waits);
    EXPECT_GE(waits["traffic"][kind]["hidden"].get<double>(), 0);
    EXPECT_LE(waits["traffic"][kind]["hidden"].get<double>(), 1);
    EXPECT_GE(waits["traffic"][kind]["waited"].get<double>(), 0);
  }
  EXPECT_FALSE(waits["traffic"].contains("tensor")) << "no tensor ranks";

  // The report has what was measured: a row of the table and a chart each.
  ASSERT_EQ(run_hadal("report " + SmallRun::quoted(small.run())).code, 0);
  const std::string page = read_file(small.run() / "report.html");
  std::vector<double> bubbles;
  for (const auto& step : steps_of(small.run())) bubbles.push_back(step["waits"]["pipeline"].get<double>());
  std::sort(bubbles.begin(), bubbles.end());
  EXPECT_GT(bubbles[0], 0);
  EXPECT_TRUE(has(page, "neighbours (median of the last 100 steps)</th><td>" + format_percent(bubbles[2]) + "</td>"));
  EXPECT_TRUE(has(page, "<th>layout</th><td>dp=2,pp=2,ep=2,schedule=dualpipe</td>"));
  std::vector<double> hidden;
  for (const auto& step : steps_of(small.run())) hidden.push_back(step["waits"]["traffic"]["gradients"]["hidden"]);
  std::sort(hidden.begin(), hidden.end());
  EXPECT_TRUE(has(page, "by kind (the same)</th><td>gradients " + format_percent(hidden[2]) + ", values "));
  for (const char* chart : {"bubble: waiting for pipeline neighbours, % of a step",
                            "waiting for experts' rows, % of a step", "traffic hidden behind computing, %"})
    EXPECT_TRUE(has(page, chart)) << chart;
}

// The largest relative distance of a weight between two runs' checkpoints of a step each, and whose it is.
std::pair<double, std::string> furthest_weight(const fs::path& one, int64_t step, const fs::path& many,
                                               int64_t other_step) {
  const auto wanted = TensorFiles::open(checkpoint_path(one / "checkpoints", step));
  const auto found = TensorFiles::open(checkpoint_path(many / "checkpoints", other_step));
  EXPECT_EQ(found.names(), wanted.names());
  std::pair<double, std::string> furthest;
  for (const std::string& name : wanted.names()) {
    const Tensor a = wanted.tensor(name), b = found.tensor(name);
    double size = 0, difference = 0;
    for (int64_t i = 0; i < a.count(); ++i) {
      const double x = a.data<float>()[i], y = b.data<float>()[i];
      size += x * x, difference += (x - y) * (x - y);
    }
    const double distance = difference > 0 ? std::sqrt(difference / size) : 0;  // a selection bias may be all zeros
    furthest = std::max(furthest, {distance, name});
  }
  return furthest;
}

// Other layouts add up in another order: as near as FP32 lets it be. The run goes on in each from the last one's files,
// and the weights that the next steps make are held against those of one rank; a step moves them by far more. Moments
// are not rounded to BF16, and no gradient that is rounding alone is made a whole step by Adam.
TEST(Ranks, ARunGoesOnInAnyLayout) {
  const SmallRun small;
  const fs::path one = small.run("one"), many = small.run("many");
  const std::string same =
      "--steps 8 --set train.precision=fp32 --set optim.moments=fp32 --set optim.eps=1e-4 --set checkpoint.keep=8 ";
  ASSERT_EQ(run_hadal(small.train("one", same)).code, 0);
  const std::string on = "train " + SmallRun::quoted(many);
  int64_t step = 0;
  for (const auto& [layout, stop] : std::vector<std::pair<std::string, int64_t>>{{"pp=2", 2},
                                                                                 {"dp=2,pp=2,schedule=dualpipe", 4},
                                                                                 {"dp=1", 5},
                                                                                 {"dp=2,ep=4,tp=2,cp=2", 6},
                                                                                 {"pp=2,schedule=zb1p", 8}}) {
    const std::string how = " --layout " + layout + (stop < 8 ? fmt::format(" --stop-after {}", stop) : "");
    const auto result = run_hadal(step == 0 ? small.train("many", same + how) : on + how);
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(has(result.err, "no rank holds the whole model"), step > 0 && layout != "dp=1") << layout << result.err;
    while (step < stop) {
      ++step;
      const auto [distance, weight] = furthest_weight(one, step, many, step);
      EXPECT_LE(distance, 1e-6) << layout << ", step " << step << ", " << weight;
      if (step == 1) continue;
      EXPECT_GT(furthest_weight(one, step, many, step - 1).first, 1e-3) << layout << ", step " << step;
    }
  }
  EXPECT_NEAR(last_loss(many), last_loss(one), 1e-5);
}

TEST(Ranks, WrongLayoutsAreRefusedBeforeAnythingIsMade) {
  const SmallRun small;
  for (const auto& [layout, why] :
       std::map<std::string, std::string>{{"xp=2", "xp"},
                                          {"pp=64", "64 stages for a model of"},
                                          {"tp=64", "is the most"},
                                          {"pp=2,schedule=onef", "no schedule is called 'onef'"},
                                          {"dp=3,ep=2", "ep = 2 does not divide the dp * cp * tp = 3 ranks"},
                                          {"dp=5000", "256 are the most"}}) {
    const auto refused = run_hadal(small.train("run", "--layout " + layout));
    EXPECT_EQ(refused.code, 2);
    EXPECT_TRUE(has(refused.err, why)) << refused.err;
  }
  const auto both = run_hadal(small.train("run", "--layout dp=2 --ranks 3"));
  EXPECT_EQ(both.code, 2);
  EXPECT_TRUE(has(both.err, "layout 'dp=2' has 2 ranks")) << both.err;
  EXPECT_EQ(run_hadal(small.train("run", "--ranks 0")).code, 2);
  EXPECT_EQ(run_hadal(small.train("run", "--set parallel.dp=0")).code, 2);
  EXPECT_FALSE(fs::exists(small.run()));
}

TEST(CheckLayouts, ProvesTheUsersModelAndDrawnCases) {
  const SmallRun small;
  const auto own = run_hadal("check layouts " + SmallRun::quoted(small.config()) + " --layout dp=3 --quiet");
  EXPECT_EQ(own.code, 0) << own.err;
  EXPECT_TRUE(has(own.out, "1 of 1 layouts compute what one rank computes (fp64, 3 steps)")) << own.out;
  EXPECT_TRUE(has(own.out, "weight, on every rank")) << own.out;
  EXPECT_TRUE(has(own.out, "exercised: 7 micro-batches a step (up to 3 on a data rank)")) << own.out;
  EXPECT_TRUE(has(own.out,
                  "two masked documents a sequence, MTP to depth 1, recompute all, gradients clipped to 0.05 in 3 of 3 "
                  "steps, an expert without tokens in 3 of 3"))
      << own.out;
  const auto drawn = run_hadal("check layouts --random 2 --seed 5 --precision bf16 --json");
  EXPECT_EQ(drawn.code, 0) << drawn.err;
  const auto json = parse_json(drawn.out, "what it said");
  ASSERT_EQ(json.size(), 2u);
  EXPECT_TRUE(json[0]["agrees"]);
  EXPECT_EQ(json[0]["first_parameter"], "");
  EXPECT_TRUE(has(json[0]["exercised"].get<std::string>(), "micro-batches a step")) << json[0]["exercised"];
  const auto short_one = run_hadal("check layouts --random 1 --steps 1 --json");
  EXPECT_EQ(short_one.code, 0) << short_one.err;
  EXPECT_FALSE(has(short_one.out, "step 2")) << short_one.out;
  const auto nothing = run_hadal("check layouts");
  EXPECT_EQ(nothing.code, 2);
  EXPECT_TRUE(has(nothing.err, "nothing to check")) << nothing.err;
  const auto no_model = run_hadal("check layouts --layout dp=2");
  EXPECT_EQ(no_model.code, 2);
  EXPECT_TRUE(has(no_model.err, "--layout needs a configuration")) << no_model.err;
}

}  // namespace
}  // namespace hadal
