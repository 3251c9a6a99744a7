// A walk through phases, the last of them on dialogues, with evaluations in and behind it, killed twenty times at
// random milliseconds: while it holds documents against rules, evaluation items and each other (signatures), makes
// shards, in steps, checkpoints, validations, between phases (border), in evaluations. It ends with the bytes of the
// walk that nobody touched: weights, moments, shards, lineage, results, and the page's tables.
#include "apps/killed_run.h"
#include "apps/run_metrics.h"
#include "apps/three_phases.h"
#include "checkpoint/phase_record.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

constexpr const char* kPhases[] = {"base", "longer", "last"};

// Documents of sixty words; among them short ones, near duplicates, and some that hold an evaluation item.
std::string hard_corpus() {
  const std::string item = "no wind blows where the cold fish goes down to a deep and light sea";
  std::string lines;
  for (int i = 0; i < 1500; ++i) {
    const bool near = i % 5 == 4;  // of the document before it: one more word
    std::string text = small_text(i % 11 == 0 ? 8 : 60, uint64_t(near ? i - 1 : i) + 100) + (near ? "again" : "");
    if (i % 7 == 3) text += item;
    for (char& c : text) c = c == '\n' ? ' ' : c;
    lines += "{\"text\": \"" + text + "\"}\n";
  }
  return lines;
}

std::string dialogues() {
  std::string lines;
  for (int i = 0; i < 60; ++i)
    lines += "{\"messages\": [{\"role\": \"user\", \"content\": \"is it " + std::to_string(i) +
             "?\"}, {\"role\": \"assistant\", \"content\": \"" + std::string(size_t(i % 7 + 1), 'a') + "\"}]}\n";
  return lines;
}

// The base is asked in the walk, and the last phase learns from dialogues.
std::string phases_of(const std::string& chats) {
  std::string text = three_phases(12, 8, 8);
  const auto put = [&](const std::string& before, const std::string& after) {
    text.replace(text.find(before), before.size(), after);
  };
  put("steps = 12\n", "steps = 12\n[phase.evaluation]\ntasks = [{ name = \"arithmetic\", limit = 12 }]\n");
  const size_t last = text.rfind("kind = \"pretrain\"");
  return text.substr(0, last) + "kind = \"sft\"\nstart = \"average\"\n[[phase.data.sources]]\npaths = [" + chats +
         "]\nformat = \"messages\"\n[phase.data]\nepochs = 3\nholdout_fraction = 0.2\n[phase.train]\nbatch_sequences = "
         "4\n";
}

void write_corpus(const SmallRun& small) {
  const auto path = [&](const char* name) { return "'" + (small.root() / name).string() + "'"; };
  atomic_write(small.root() / "corpus.jsonl", hard_corpus());
  atomic_write(small.root() / "chats.jsonl", dialogues());
  atomic_write(small.root() / "item.txt", "No wind blows where the cold fish goes down to a deep and light sea?\n");
  atomic_write(small.root() / "life.toml", read_file(small.config()) + "[[data.sources]]\nname = 'corpus'\npaths = [" +
                                               path("corpus.jsonl") + "]\nrules = ['gopher_quality']\n" + R"(
[data.sources.limits.gopher_quality]
min_words = 30
min_stop_words = 0
min_mean_word = 0
[data.near_duplicates]
across = "all"
[data.decontaminate]
common_above = 1000
files = [)" + path("item.txt") + "]\n" + phases_of(path("chats.jsonl")));
}

std::vector<Words> commands_of(const SmallRun& small, const fs::path& run) {
  const auto evaluated = [&](const std::string& phase, const std::string& task) {
    return Words{"eval",    "--quiet", "--record", "--model", run.string() + ":" + phase,
                 "--tasks", task,      "--limit",  "12"};
  };
  return {{"train", small.root() / "life.toml", "--run", run, "--quiet"},
          evaluated("last", "arithmetic"),
          {"eval", "--quiet", "--record", "--model", run.string() + ":last", "--tasks", "needle", "--lengths", "120"},
          {"report", run}};
}

// What must be the same, by name. Lines of metrics lose their times.
std::map<std::string, std::string> outcome_of(const fs::path& run) {
  std::map<std::string, std::string> found{{"phases.json", read_file(run / "phases.json")}};
  for (const char* phase : kPhases) {
    for (const auto& [name, hash] : state_hashes(run / phase)) found[std::string(phase) + "/" + name] = hash;
    for (const char* kind : {"validation", "packing"})
      for (nlohmann::json line : lines_of(run / phase, kind)) {
        line.erase("seconds");
        found[std::string(phase) + "/" + kind] += json_text(line) + "\n";
      }
    for (const auto& line : steps_of(run / phase))
      found[std::string(phase) + "/losses"] += json_text(line["loss"]) + "\n";
    for (const auto& [name, hash] : all_files(run / phase / "data" / "shards"))
      found[std::string(phase) + "/shards"] += name + " " + hash + "\n";
    if (fs::exists(run / phase / "evals"))
      for (const auto& file : fs::directory_iterator(run / phase / "evals"))
        found[std::string(phase) + "/" + file.path().filename().string()] = read_file(file.path());
  }
  const std::string page = read_file(run / "report.html");
  for (size_t at = page.find("<table>"); at != std::string::npos; at = page.find("<table>", at + 1))
    found["tables"] += page.substr(at, page.find("</table>", at) - at) + "\n";
  return found;
}

// What a walk is about: comparing the documents of a phase ("signatures"), writing its shards, training it, asking it,
// or on its way to the next.
std::string place_in(const fs::path& run) {
  const size_t ended = read_phase_records(run).size(), phase = std::min<size_t>(2, ended);
  if (ended > 0 && !fs::exists(run / "base" / "evals" / "arithmetic.json")) return "evaluation";
  if ((ended == 1 || ended == 2) && !fs::exists(run / kPhases[ended])) return "border";
  const fs::path shards = run / kPhases[phase] / "data" / "shards";
  if (fs::exists(shards / "index.json")) return "phase " + std::to_string(phase + 1);
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(shards, none))
    if (entry.path().filename().string().find(".shard") != std::string::npos) return "shards";
  return "signatures";
}

void walk_in_peace(const std::vector<Words>& commands) {
  for (const Words& words : commands) {
    Process process(words);
    while (!process.ended()) nap(5);
    ASSERT_TRUE(process.clean()) << words[0];
  }
}

TEST(WalkKilledTwentyTimes, EndsWithTheBytesOfTheUntouchedWalk) {
  const SmallRun small;
  write_corpus(small);
  const fs::path run = small.run("life");
  const std::vector<Words> commands = commands_of(small, run);
  walk_in_peace(commands);
  const auto expected = outcome_of(run);
  std::string names;
  for (const auto& [name, value] : expected) names += name + "\n";
  ASSERT_EQ(expected.size(), 3 * 10u + 2 + 3) << names;
  for (const char* rule : {"gopher_quality.min_words", "decontaminate.ngram", "near_duplicates"})
    ASSERT_NE(expected.at("tables").find(std::string("<td>corpus</td><td>") + rule), std::string::npos) << rule;
  fs::remove_all(run);

  // Where it was killed, and how often inside a checkpoint's write.
  RandomStream random{7, stream_id("test.kill_walk"), 0};
  std::map<std::string, int> kills;
  for (const char* place : {"signatures", "shards", "phase 1", "phase 2", "phase 3", "border", "evaluation"})
    kills[place] = 0;
  int all = 0, inside_a_write = 0;
  const auto enough = [&] {
    return all >= 20 && inside_a_write >= 2 &&
           std::all_of(kills.begin(), kills.end(), [](const auto& place) { return place.second >= 3; });
  };
  // Phases that were killed often enough are waited for, so that the others have their turn.
  const auto spared = [&](const std::string& place) { return kills.at(place) >= 7; };
  for (int attempt = 0; attempt < 400 && !enough(); ++attempt) {
    size_t next = 0;
    for (; next < commands.size(); ++next) {
      const bool trains = next == 0, lies_at_border = place_in(run) == "border";
      Process process(commands[next]);
      while (!process.ended() && spared(trains ? place_in(run) : "evaluation")) nap(2);
      const bool aims_at_shards = trains && kills.at("shards") < 3;  // which take milliseconds
      while (!process.ended() && aims_at_shards && place_in(run) == "signatures") nap(0.5);
      const bool aims_at_border = trains && !aims_at_shards && !lies_at_border && kills.at("border") < 3;
      while (!process.ended() && aims_at_border && place_in(run) != "border") nap(0.1);  // milliseconds as well
      if (!aims_at_border)
        nap(aims_at_shards ? 30 * random.uniform() : trains ? 5 + 700 * random.uniform() : 2 + 120 * random.uniform());
      const std::string place = trains ? place_in(run) : "evaluation";
      if (!process.ended() && !spared(place)) {
        for (const char* phase : kPhases) inside_a_write += writing(run / phase);
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
  walk_in_peace(commands);
  EXPECT_EQ(outcome_of(run), expected);
}

}  // namespace
}  // namespace hadal
