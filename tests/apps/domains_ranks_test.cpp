// Losses, bits per byte and loads by domain in a run's metrics, on any layout.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class DomainsOfARun : public ::testing::Test {
 protected:
  DomainsOfARun() {
    atomic_write(small_.root() / "digits.txt", digits());
    atomic_write(config(), read_file(small_.config()) + "[[data.sources]]\nname = \"sea\"\npaths = [\"" +
                               small_.text().string() +
                               "\"]\n[[data.sources]]\nname = \"digits\"\ndomain = \"sums\"\n" +
                               "loss_weight = 0.5\npaths = [\"" + (small_.root() / "digits.txt").string() + "\"]\n");
  }
  static std::string digits() {
    std::string text;
    for (int i = 0; i < 900; ++i) text += std::to_string(i * i) + " + " + std::to_string(i) + "\n";
    return text;
  }
  fs::path config() const { return small_.root() / "two.toml"; }
  CommandResult train(const std::string& what, const std::string& run, const std::string& more) const {
    return run_hadal("train " + what + " --run " + SmallRun::quoted(small_.run(run)) + " --quiet --set train.steps=3 " +
                     more);
  }
  SmallRun small_;
};

nlohmann::json without_times(nlohmann::json line) {
  line.erase("seconds");
  return line;
}

// The first step has the same weights everywhere, and so has a finished run that is opened again.
TEST_F(DomainsOfARun, AreTheSameBitsOnEveryLayout) {
  ASSERT_EQ(train(SmallRun::quoted(config()), "one", "").code, 0);
  const auto first = steps_of(small_.run("one")).front();
  ASSERT_EQ(first.at("domains").size(), 2u) << first;
  EXPECT_EQ(first.at("domains").at("sea").at("targets").get<int64_t>() +
                first.at("domains").at("sums").at("targets").get<int64_t>(),
            first.at("sequences").get<int64_t>() * 32)
      << "parts of two long documents: each place has a target";
  const auto last = without_times(lines_of(small_.run("one"), "validation").back());
  ASSERT_EQ(last.at("domains").size(), 2u) << last;
  EXPECT_GT(last.at("domains").at("sums").at("load").get<double>(), 1);
  for (const std::string layout : {"dp=2", "pp=2", "cp=2", "dp=2,ep=2"}) {
    const std::string ranks = "--layout " + layout + " --threads 2";
    const CommandResult other = train(SmallRun::quoted(config()), layout, ranks + " --stop-after 1");
    ASSERT_EQ(other.code, 0) << other.err;
    const auto step = steps_of(small_.run(layout)).front();
    EXPECT_EQ(step.at("domains"), first.at("domains")) << layout;
    EXPECT_EQ(step.at("loss"), first.at("loss")) << layout;
    const fs::path again = small_.run("again " + layout);
    fs::copy(small_.run("one"), again, fs::copy_options::recursive);
    fs::remove(again / "metrics.jsonl");
    const CommandResult opened = run_hadal("train " + SmallRun::quoted(again) + " --quiet " + ranks);
    ASSERT_EQ(opened.code, 0) << opened.err;
    EXPECT_EQ(without_times(lines_of(again, "validation").back()), last) << layout;
  }
}

TEST_F(DomainsOfARun, StandOnTheScreenAndMayBeRenamed) {
  ASSERT_EQ(train(SmallRun::quoted(config()), "run", "").code, 0);
  const CommandResult renamed = run_hadal("train " + SmallRun::quoted(small_.run("run")) +
                                          " --set data.sources.1.domain=numbers --set train.steps=4");
  ASSERT_EQ(renamed.code, 0) << renamed.err;
  EXPECT_NE(renamed.err.find("(sea "), std::string::npos) << renamed.err;
  EXPECT_NE(renamed.err.find("by domain, bits per byte: sea "), std::string::npos) << renamed.err;
  EXPECT_NE(renamed.err.find("numbers "), std::string::npos) << renamed.err;
}

}  // namespace
}  // namespace hadal
