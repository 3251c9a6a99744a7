// A walk through phases with evaluations behind it, killed twenty times at random milliseconds: while it makes its
// shards, in steps, checkpoints, validations, between phases, in evaluations. It ends with the bytes of the walk that
// nobody touched: weights, moments, lineage, results, and the page's tables.
#include "apps/killed_run.h"
#include "apps/run_metrics.h"
#include "apps/three_phases.h"
#include "checkpoint/phase_record.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

std::vector<Words> commands_of(const SmallRun& small, const fs::path& run) {
  const auto evaluated = [&](const std::string& phase, const std::string& task) {
    return Words{"eval",    "--quiet", "--record", "--model", run.string() + ":" + phase,
                 "--tasks", task,      "--limit",  "12"};
  };
  return {{"train", small.root() / "life.toml", "--text", small.text(), "--run", run, "--quiet"},
          evaluated("base", "arithmetic"),
          evaluated("last", "arithmetic"),
          {"eval", "--quiet", "--record", "--model", run.string() + ":last", "--tasks", "needle", "--lengths", "120"},
          {"report", run}};
}

// What must be the same, by name. Lines of metrics lose their times.
std::map<std::string, std::string> outcome_of(const fs::path& run) {
  std::map<std::string, std::string> found{{"phases.json", read_file(run / "phases.json")}};
  for (const char* phase : {"base", "longer", "last"}) {
    for (const auto& [name, hash] : state_hashes(run / phase)) found[std::string(phase) + "/" + name] = hash;
    for (const char* kind : {"validation", "packing"})
      for (nlohmann::json line : lines_of(run / phase, kind)) {
        line.erase("seconds");
        found[std::string(phase) + "/" + kind] += json_text(line) + "\n";
      }
    for (const auto& line : steps_of(run / phase))
      found[std::string(phase) + "/losses"] += json_text(line["loss"]) + "\n";
    if (fs::exists(run / phase / "evals"))
      for (const auto& file : fs::directory_iterator(run / phase / "evals"))
        found[std::string(phase) + "/" + file.path().filename().string()] = read_file(file.path());
  }
  const std::string page = read_file(run / "report.html");
  for (size_t at = page.find("<table>"); at != std::string::npos; at = page.find("<table>", at + 1))
    found["tables"] += page.substr(at, page.find("</table>", at) - at) + "\n";
  return found;
}

TEST(WalkKilledTwentyTimes, EndsWithTheBytesOfTheUntouchedWalk) {
  const SmallRun small;
  atomic_write(small.root() / "life.toml", read_file(small.config()) + three_phases(12, 8, 8));
  const fs::path run = small.run("life");
  const std::vector<Words> commands = commands_of(small, run);
  const auto walk_in_peace = [&](size_t first) {
    for (size_t c = first; c < commands.size(); ++c) {
      Process process(commands[c]);
      while (!process.ended()) nap(5);
      ASSERT_TRUE(process.clean()) << commands[c][0];
    }
  };
  walk_in_peace(0);
  const auto expected = outcome_of(run);
  ASSERT_EQ(expected.size(), 3 * 9u + 2 + 3);
  fs::remove_all(run);

  // Where it was killed: in which phase's training, in evaluations, and how often inside a checkpoint's write.
  RandomStream random{7, stream_id("test.kill_walk"), 0};
  std::map<std::string, int> kills{{"phase 1", 0}, {"phase 2", 0}, {"phase 3", 0}, {"evaluation", 0}};
  int all = 0, inside_a_write = 0;
  const auto enough = [&] {
    return all >= 20 && inside_a_write >= 2 &&
           std::all_of(kills.begin(), kills.end(), [](const auto& place) { return place.second >= 3; });
  };
  // Phases that were killed often enough are waited for, so that the others have their turn.
  const auto phase_now = [&] {
    return "phase " + std::to_string(std::min<size_t>(3, read_phase_records(run).size() + 1));
  };
  const auto spared = [&](const std::string& place) { return kills.at(place) >= 7; };
  for (int attempt = 0; attempt < 400 && !enough(); ++attempt) {
    size_t next = 0;
    for (; next < commands.size(); ++next) {
      Process process(commands[next]);
      const bool trains = next == 0;
      while (!process.ended() && spared(trains ? phase_now() : "evaluation")) nap(2);
      nap(trains ? 5 + 700 * random.uniform() : 2 + 120 * random.uniform());
      const std::string place = trains ? phase_now() : "evaluation";
      if (!process.ended() && !spared(place)) {
        for (const char* phase : {"base", "longer", "last"}) inside_a_write += writing(run / phase);
        process.kill_now();
        ++all, ++kills[place];
        break;
      }
      while (!process.ended()) nap(5);
      ASSERT_TRUE(process.clean()) << commands[next][0];
    }
    if (next < commands.size()) continue;
    EXPECT_EQ(outcome_of(run), expected);  // ended before it was killed often enough: the kills so far count
    fs::remove_all(run);
  }
  EXPECT_TRUE(enough()) << all << " kills, " << inside_a_write << " inside a checkpoint's write";
  for (const auto& [place, n] : kills) RecordProperty(place, n);
  walk_in_peace(0);
  EXPECT_EQ(outcome_of(run), expected);
}

}  // namespace
}  // namespace hadal
