// No command costs a user a run: not one that names the wrong directory, not a --fresh that cannot be carried out, and
// not a build into a cache that a run is trained on.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/hash.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class RunSurvives : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(run_hadal(small.train("run", "--steps 2")).code, 0); }

  static std::string q(const fs::path& path) { return SmallRun::quoted(path); }
  void expect_refused(const std::string& command, int code, const std::vector<std::string>& parts) {
    const auto before = all_files(small.run());
    const auto result = run_hadal(command);
    EXPECT_EQ(result.code, code) << command << "\n" << result.err;
    for (const std::string& part : parts)
      EXPECT_NE(result.err.find(part), std::string::npos) << part << "\n" << result.err;
    EXPECT_EQ(all_files(small.run()), before) << command;
    EXPECT_FALSE(fs::exists(small.run() / "before_fresh")) << command;
  }
  fs::path checkpoint() const { return small.run() / "checkpoints" / "step_00000002"; }
  std::string build(const fs::path& text, const std::string& more) const {
    return "data build " + q(small.config()) + " --text " + q(text) + " --quiet " + more;
  }
  fs::path other_text() const {
    atomic_write(small.root() / "other.txt", small_text(6000, 2));
    return small.root() / "other.txt";
  }

  SmallRun small;
};

TEST_F(RunSurvives, ACheckpointNamedAsARunIsRefusedWithTheTwoWays) {
  const std::string at = q(checkpoint());
  const std::vector<std::string> ways = {"is a checkpoint of the run", "hadal train " + small.run().string(),
                                         "--model " + checkpoint().string() + " --run NEW"};
  expect_refused("train " + at + " --steps 12", 2, ways);
  expect_refused("train " + at + "/ --quiet", 2, {"is a checkpoint of the run"});
  for (const std::string fresh : {"", " --fresh"})
    expect_refused("train " + q(small.config()) + " --text " + q(small.text()) + " --run " + at + fresh, 2, ways);
  expect_refused(build(small.text(), "--set run=" + at), 2, ways);
  expect_refused("data build " + at, 2, ways);
  expect_refused("data explain " + at, 2, ways);
  expect_refused("demo --steps 1 --run " + at, 2, ways);
  expect_refused("demo --steps 1 --fresh --run " + at, 2, ways);
}

TEST_F(RunSurvives, NoRunLiesInAModelOrInWhatARunKeeps) {
  for (const char* inside : {"checkpoints", "checkpoints/new", "data", "data/shards", "tokenizer"})
    expect_refused(small.train("run/" + std::string(inside), "--steps 1"), 2, {"lies in what the run", "--run NEW"});
  fs::copy(checkpoint(), small.root() / "kept");  // a checkpoint may be copied; then it is a model
  const auto before = all_files(small.root() / "kept");
  expect_refused(small.train("kept", "--steps 1"), 2, {"holds a model (model.safetensors)", "--model"});
  expect_refused("train " + q(small.root() / "kept"), 2, {"holds a model (model.safetensors)", "--model"});
  EXPECT_EQ(all_files(small.root() / "kept"), before);
  EXPECT_EQ(run_hadal(small.train("run/beside", "--steps 1")).code, 0) << "beside what it keeps there is no harm";
}

TEST_F(RunSurvives, ACacheLiesInNoOtherPartOfARun) {
  for (const fs::path& at : {small.run(), checkpoint(), small.run() / "tokenizer", small.run() / "data" / "shards"}) {
    expect_refused(build(small.text(), "--set data.cache=" + q(at)), 2,
                   {"data.cache", (small.run() / "data").string()});
    expect_refused(small.train("second", "--steps 1 --set data.cache=" + q(at)), 2, {"data.cache"});
  }
  EXPECT_FALSE(fs::exists(small.run("second")));
}

TEST_F(RunSurvives, AFreshThatCannotBeCarriedOutLeavesTheRun) {
  atomic_write(small.root() / "some.pdf", "%PDF-1.4\n1 0 obj\n");
  expect_refused(small.train("run", "--fresh --change optim.lr=1e-4"), 2, {"--fresh", "--set optim.lr=1e-4"});
  expect_refused(small.train("run", "--fresh --set tokenizer.path=nosuch"), 1, {"nosuch"});
  expect_refused(small.train("run", "--fresh --set tokenizer.vocab_size=100"), 2, {"vocab"});
  expect_refused(
      "train " + q(small.config()) + " --text " + q(small.root() / "some.pdf") + " --fresh --run " + q(small.run()), 2,
      {"PDF"});
  expect_refused(small.train("run", "--fresh --set tokenizer.path=" + q(small.run() / "tokenizer")), 1, {"tokenizer"});
  for (const fs::path& model : {small.run(), checkpoint()})
    expect_refused(small.train("run", "--fresh --model " + q(model)), 2, {"--fresh", "--run NEW"});
  expect_refused("demo --fresh --text " + q(small.root() / "some.pdf") + " --run " + q(small.run()), 2, {"PDF"});
  EXPECT_EQ(run_hadal("train " + q(small.run()) + " --quiet --steps 3").code, 0);
}

TEST_F(RunSurvives, AFreshThatWasKilledIsUndoneByTheNextCommand) {
  const auto before = all_files(small.run());
  const std::string again = small.train("run", "--fresh --set tokenizer.training_bytes=20000");
  atomic_write(small.text(), small_text(600000, 5));
  run_hadal(again + " & p=$!; n=0; while [ ! -f " + q(small.run() / "before_fresh" / ".whole") +
            " ] && [ $n -lt 3000 ]; do sleep 0.01; n=$((n+1)); done; kill -KILL $p; wait $p");
  ASSERT_TRUE(fs::exists(small.run() / "before_fresh" / "config.toml"));
  atomic_write(small.text(), small_text(6000));
  const auto result = run_hadal("train " + q(small.run()));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("put back"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(small.run() / "before_fresh"));
  auto after = all_files(small.run());
  for (const auto& [name, hash] : before) {
    if (!name.starts_with("checkpoints") && !name.starts_with("data")) continue;
    EXPECT_EQ(after[name], hash) << name;
  }
  EXPECT_EQ(run_hadal(small.train("run", "--fresh --steps 1")).code, 0);
  EXPECT_EQ(list_checkpoints(small.run() / "checkpoints").size(), 1u);
  for (const auto& entry : fs::directory_iterator(small.run()))
    EXPECT_FALSE(entry.path().filename().string().starts_with("before_fresh")) << entry.path();
}

TEST_F(RunSurvives, ASharedCacheIsNotReplacedWhileARunUsesIt) {
  const fs::path cache = small.root() / "shared";
  const std::string here = "--set data.cache=" + q(cache);
  ASSERT_EQ(run_hadal(build(other_text(), here)).code, 0);
  ASSERT_EQ(run_hadal(build(small.text(), here)).code, 0) << "nobody uses it yet";
  ASSERT_EQ(run_hadal(small.train("first", "--steps 2 --stop-after 1 " + here)).code, 0);
  const auto before = all_files(cache);
  const std::vector<std::string> parts = {small.run("first").string(), "data.cache=NEW"};
  expect_refused(build(other_text(), here), 2, parts);
  expect_refused(build(small.text(), here + " --set data.holdout_fraction=0.3"), 2, parts);
  expect_refused("train " + q(small.config()) + " --text " + q(other_text()) + " --quiet --steps 1 " + here +
                     " --run " + q(small.run("second")),
                 2, parts);
  EXPECT_EQ(all_files(cache), before);
  EXPECT_EQ(run_hadal(build(small.text(), here)).code, 0) << "the same text is there already";
  ASSERT_EQ(run_hadal(small.train("second", "--steps 1 " + here)).code, 0) << "and may be shared";
  fs::rename(small.run("first"), small.root() / "moved");
  expect_refused(build(other_text(), here), 2, {small.run("first").string() + " (not there now)"});
  EXPECT_EQ(run_hadal("train " + q(small.root() / "moved") + " --quiet").code, 0);
}

TEST_F(RunSurvives, TheTextOfARunIsItsOwnAlsoAsACache) {
  const std::string here = "--set data.cache=" + q(small.run() / "data");
  expect_refused(build(other_text(), here), 2, {small.run().string(), "data.cache=NEW"});
  ASSERT_EQ(run_hadal(small.train("second", "--steps 2 --stop-after 1 " + here)).code, 0);
  ASSERT_EQ(run_hadal(small.train("run", "--steps 1 --fresh")).code, 0);
  EXPECT_EQ(run_hadal("train " + q(small.run("second")) + " --quiet").code, 0) << "its shards were not deleted";
}

}  // namespace
}  // namespace hadal
