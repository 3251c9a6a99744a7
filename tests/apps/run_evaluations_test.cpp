// [evaluation]: what a run, or each phase of one, asks its model when it has ended, as a part of the walk.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/html_check.h"
#include "apps/killed_run.h"
#include "apps/small_run.h"
#include "apps/three_phases.h"
#include "base/expect_error.h"
#include "base/json.h"
#include "train/evaluation_record.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class RunEvaluations : public ::testing::Test {
 protected:
  RunEvaluations() {
    atomic_write(life(), read_file(small_.config()) + R"(
[evaluation]
average = true
tasks = [{ name = "arithmetic", limit = 3 }]
)" + three_phases(3, 2, 2) + R"([phase.evaluation]
tasks = [{ name = "needle", lengths = [120], limit = 1 }, { name = "recall", limit = 2, few_shot = 1 }]
)");
  }
  fs::path life() const { return small_.root() / "life.toml"; }
  fs::path run() const { return small_.run("life"); }
  CommandResult train(const std::string& more = "") const {
    return run_hadal("train " + SmallRun::quoted(life()) + " --text " + SmallRun::quoted(small_.text()) + " --run " +
                     SmallRun::quoted(run()) + " --quiet " + more);
  }
  // Contents by name, "base/arithmetic.ema.json".
  std::map<std::string, std::string> kept() const {
    std::map<std::string, std::string> found;
    for (const char* phase : {"base", "longer", "last"})
      if (fs::is_directory(run() / phase / "evals"))
        for (const auto& file : fs::directory_iterator(run() / phase / "evals"))
          found[phase + ("/" + file.path().filename().string())] = read_file(file.path());
    return found;
  }
  // Replaced by another text, a file shows whether it is made again.
  void mark(const std::string& phase, const std::string& name, const std::string& key, const json& value) const {
    const fs::path file = run() / phase / "evals" / name;
    auto record = read_json<nlohmann::ordered_json>(file);
    record[key] = value;
    atomic_write(file, json_text(record));
  }
  json record(const std::string& phase, const std::string& name) const {
    return read_json<json>(run() / phase / "evals" / name);
  }
  SmallRun small_;
};

const std::vector<std::string> kAll = {"base/arithmetic.ema.json",   "base/arithmetic.json",  "last/needle.ema.json",
                                       "last/needle.json",           "last/recall.ema.json",  "last/recall.json",
                                       "longer/arithmetic.ema.json", "longer/arithmetic.json"};

std::vector<std::string> names_of(const std::map<std::string, std::string>& kept) {
  std::vector<std::string> names;
  for (const auto& [name, text] : kept) names.push_back(name);
  return names;
}

TEST_F(RunEvaluations, EachPhaseIsAskedByOneCommandAndKeepsWhatEvalFinds) {
  ASSERT_EQ(train().code, 0);
  EXPECT_EQ(names_of(kept()), kAll);
  for (const bool average : {false, true}) {
    const CommandResult asked = run_hadal("eval --quiet --json --tasks recall --limit 2 --few-shot 1 --model " +
                                          SmallRun::quoted(run()) + (average ? " --ema" : ""));
    ASSERT_EQ(asked.code, 0) << asked.err;
    const json found = parse_json<json>(asked.out, "eval").at("results").at("recall");
    const json own = record("last", average ? "recall.ema.json" : "recall.json");
    EXPECT_EQ(own.at("average"), average);
    EXPECT_EQ(own.at("items"), 2);
    ASSERT_FALSE(own.at("metrics").empty());
    for (const auto& metric : own.at("metrics"))
      EXPECT_EQ(metric.at("value"), found.at(std::string(metric.at("name")) + ",none"));
  }
  const std::string page = read_file(run() / "report.html");
  EXPECT_EQ(html_fault(page), "");
  EXPECT_NE(page.find("<th>base</th><th>base, average</th><th>longer</th><th>longer, average</th>"), std::string::npos);
  EXPECT_NE(page.find("last: needle, likeliest of 16 (chance 0.06), average"), std::string::npos);
}

TEST_F(RunEvaluations, KilledInOneItIsDoneAgainAndWhatStandsIsNot) {
  ASSERT_EQ(train().code, 0);
  const auto expected = kept();
  fs::remove_all(run());
  const std::vector<std::string> words = {"train", life(), "--text", small_.text(), "--run", run(), "--quiet"};
  for (const char* behind : {"base/evals/arithmetic.json", "last/evals/needle.json"}) {
    Process process(words);
    while (!process.ended() && !fs::exists(run() / behind)) nap(0.2);
    process.kill_now();
  }
  ASSERT_EQ(train().code, 0);
  EXPECT_EQ(kept(), expected);

  // One is gone, one is of another checkpoint, one was asked for otherwise, one stands.
  fs::remove(run() / "longer" / "evals" / "arithmetic.json");
  mark("base", "arithmetic.json", "checkpoint", "step_00000001");
  mark("last", "recall.json", "asked", {{"limit", 1}});
  mark("last", "needle.json", "notes", {"it was here before"});
  ASSERT_EQ(train().code, 0);
  auto now = kept();
  EXPECT_NE(now.at("last/needle.json").find("it was here before"), std::string::npos);
  now.at("last/needle.json") = expected.at("last/needle.json");
  EXPECT_EQ(now, expected);
}

TEST_F(RunEvaluations, OfAPhaseThatHasEndedMayBeEdited) {
  ASSERT_EQ(train("--until base").code, 0);
  EXPECT_EQ(names_of(kept()), (std::vector<std::string>{kAll[0], kAll[1]}));
  const std::string before = read_file(run() / "phases.json");
  const CommandResult more = train(
      "--until base --set 'phase.base.evaluation.tasks=[{name = \"arithmetic\", limit = 2}, {name = \"recall\", limit "
      "= 1}]'");
  ASSERT_EQ(more.code, 0) << more.err;
  EXPECT_EQ(record("base", "arithmetic.json").at("items"), 2);
  EXPECT_EQ(record("base", "recall.ema.json").at("items"), 1);
  EXPECT_EQ(read_file(run() / "phases.json"), before);
}

TEST_F(RunEvaluations, WhatCannotBeAskedIsRefusedBeforeTheFirstStep) {
  const auto refused = [&](const std::string& tasks, const std::string& word, const std::string& more = "") {
    const CommandResult result = train("--set 'phase.longer.evaluation.tasks=" + tasks + "' " + more);
    EXPECT_NE(result.code, 0);
    EXPECT_NE(result.err.find(word), std::string::npos) << result.err;
    EXPECT_NE(result.err.find("'longer'"), std::string::npos) << result.err;
    EXPECT_FALSE(fs::exists(run())) << word;
  };
  refused("[{name = \"nedle\"}]", "did you mean needle?");
  refused("[{name = \"nedle\"}]", "did you mean needle?", "--plan");
  refused("[{name = \"nowhere.yaml\"}]", "nowhere.yaml", "--plan");
  refused("[{limit = 3}]", "name is missing");
  refused("[{name = \"recall\"}, {name = \"recall\"}]", "stands there twice");
  refused("[{name = \"recall\", lengths = [4]}]", "belongs to 'needle'");
  refused("[{name = \"needle\", lengths = [4096]}]", "model.max_positions = 128");
  refused("[{name = \"recall\", limit = -1}]", "limit = -1");
  refused("[{name = \"positions\"}]", "its file is missing", "--plan");
  refused("[{name = \"positions\", file = \"/nowhere.jsonl\"}]", "/nowhere.jsonl");
  EXPECT_EQ(
      train("--plan --set 'phase.longer.evaluation.tasks=[{name = \"positions\", file = \"/nowhere.jsonl\"}]'").code,
      0);
  const CommandResult none = train("--set optim.ema_decay=0");
  EXPECT_EQ(none.code, 2);
  EXPECT_NE(none.err.find("optim.ema_decay = 0 keeps none"), std::string::npos) << none.err;
}

TEST_F(RunEvaluations, ARunWithoutPhasesAsksTooWhenItHasEnded) {
  const std::string asks = "--steps 3 --set 'evaluation.tasks=[{name = \"arithmetic\", limit = 2}]' ";
  const fs::path file = small_.run() / "evals" / "arithmetic.json";
  ASSERT_EQ(run_hadal(small_.train("run", asks + "--stop-after 1")).code, 0);
  EXPECT_FALSE(fs::exists(file));
  ASSERT_EQ(run_hadal(small_.train("run", asks)).code, 0);
  const std::string first = read_file(file);
  EXPECT_FALSE(fs::exists(small_.run() / "evals" / "arithmetic.ema.json"));
  fs::remove(file);  // the run knows what it asks
  ASSERT_EQ(run_hadal("train --quiet " + SmallRun::quoted(small_.run())).code, 0);
  EXPECT_EQ(read_file(file), first);
  const CommandResult unknown = run_hadal(small_.train("other", "--plan --set 'evaluation.tasks=[{name = \"sums\"}]'"));
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("there is no task 'sums'"), std::string::npos) << unknown.err;
  EXPECT_ERROR(evaluation_file(small_.run(), "recall.ema", false), ErrorKind::invalid, "recall.ema");
}

}  // namespace
}  // namespace hadal
