// A run that goes through phases: one command, one resume, one lineage.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/html_check.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "apps/three_phases.h"
#include "base/expect_words.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/phase_record.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class PhasedRun : public ::testing::Test {
 protected:
  PhasedRun() { atomic_write(life(), read_file(small_.config()) + three_phases(6, 4, 3)); }
  fs::path life() const { return small_.root() / "life.toml"; }
  std::string train(const std::string& run, const std::string& more = "") const {
    return "train " + SmallRun::quoted(life()) + " --text " + SmallRun::quoted(small_.text()) + " --run " +
           SmallRun::quoted(small_.run(run)) + " --quiet " + more;
  }
  std::string again(const std::string& run, const std::string& more = "") const {
    return "train " + SmallRun::quoted(small_.run(run)) + " --quiet " + more;
  }
  std::string model(const std::string& run) const { return "--model " + SmallRun::quoted(small_.run(run)); }
  SmallRun small_;
};

fs::path last_of(const fs::path& run) { return list_checkpoints(run / "checkpoints").back(); }

// Every tensor and state; config.toml holds the run's own paths.
std::map<std::string, std::string> bits_of(const fs::path& run) {
  std::map<std::string, std::string> files;
  for (const char* phase : {"base", "longer", "last"})
    for (const char* name : {"model.safetensors", "optimizer.safetensors", "state.json"})
      files[std::string(phase) + "/" + name] = sha256_hex(read_file(last_of(run / phase) / name));
  return files;
}

TEST_F(PhasedRun, InterruptedAnywhereItHasTheBitsOfOneWalk) {
  ASSERT_EQ(run_hadal(train("whole")).code, 0);
  ASSERT_EQ(run_hadal(train("parts", "--until base")).code, 0);
  ASSERT_EQ(run_hadal(again("parts", "--stop-after 2")).code, 0);  // in the second
  const CommandResult stopped = run_hadal("inspect " + SmallRun::quoted(small_.run("parts")));
  ASSERT_EQ(stopped.code, 0) << stopped.err;
  EXPECT_NE(stopped.out.find("base"), std::string::npos);
  EXPECT_EQ(stopped.out.find("longer"), std::string::npos);  // has not ended
  const CommandResult ended = run_hadal(again("parts"));
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.out.find("3 of 3 phases"), std::string::npos) << ended.out;
  EXPECT_EQ(bits_of(small_.run("whole")), bits_of(small_.run("parts")));
}

TEST_F(PhasedRun, EachPhaseIsAModelAndTheLineageSaysWhoComesFromWhom) {
  ASSERT_EQ(run_hadal(train("run")).code, 0);
  const auto config = [&](const std::string& name) {
    const CommandResult shown = run_hadal("inspect " + model(name) + " --json");
    EXPECT_EQ(shown.code, 0) << shown.err;
    return parse_json<nlohmann::json>(shown.out, "inspect");
  };
  const auto whole = config("run");
  ASSERT_EQ(whole.at("phases").size(), 3u);
  EXPECT_EQ(whole.at("phases")[1].at("parent"), whole.at("phases")[0].at("model"));
  EXPECT_EQ(whole.at("phases")[2].at("from"), "longer");
  EXPECT_NE(std::string(whole.at("name")).find("last/"), std::string::npos);
  EXPECT_NE(std::string(config("run:base").at("name")).find("base/"), std::string::npos);
  const fs::path texts = small_.root() / "texts.jsonl";
  atomic_write(texts, "{\"text\": \"the sea is deep\"}\n");
  const std::vector<std::string> verbs = {"score --input " + SmallRun::quoted(texts),
                                          "generate --prompt 'the sea' --max-tokens 3"};
  for (const std::string& verb : verbs)
    for (const char* name : {"run", "run:longer"}) {
      const CommandResult said = run_hadal(verb + " " + model(name));
      EXPECT_EQ(said.code, 0) << said.err;
    }
  const CommandResult none = run_hadal("inspect " + model("run:nobody"));
  EXPECT_EQ(none.code, 1);
  EXPECT_NE(none.err.find("no phase 'nobody'"), std::string::npos) << none.err;
}

// The second phase keeps moments: its first checkpoint counts on from the first phase's updates.
TEST_F(PhasedRun, MomentsAreKeptOrStartedAnewAsIsSaid) {
  ASSERT_EQ(run_hadal(train("run")).code, 0);
  const auto state = [&](const char* phase) {
    return read_json<nlohmann::json>(last_of(small_.run() / phase) / "state.json");
  };
  EXPECT_EQ(state("longer").at("updates"), 6 + 4);
  EXPECT_EQ(state("longer").at("step"), 4);
  EXPECT_EQ(state("last").at("updates"), 3);
}

TEST_F(PhasedRun, WhatHasBegunStaysAndLaterPhasesMayBeEdited) {
  ASSERT_EQ(run_hadal(train("run", "--until base")).code, 0);
  CommandResult refused = run_hadal(train("run", "--set optim.lr=0.5"));
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("optim.lr"), std::string::npos) << refused.err;
  refused = run_hadal(train("run", "--set phase.base.train.steps=9"));
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("phase 'base' has ended"), std::string::npos) << refused.err;
  refused = run_hadal(train("run", "--phase last"));
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("'longer', which has not ended"), std::string::npos) << refused.err;
  const CommandResult edited = run_hadal(train("run", "--phase longer --set phase.longer.train.steps=2"));
  EXPECT_EQ(edited.code, 0) << edited.err;
  EXPECT_NE(edited.out.find("done: 2 steps"), std::string::npos) << edited.out;
}

TEST_F(PhasedRun, FreshStartsOverAndAnUnknownPhaseIsNamed) {
  ASSERT_EQ(run_hadal(train("run")).code, 0);
  const CommandResult unknown = run_hadal(train("run", "--until everything"));
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("base, longer, last"), std::string::npos) << unknown.err;
  const CommandResult fresh = run_hadal(train("run", "--fresh --until base"));
  ASSERT_EQ(fresh.code, 0) << fresh.err;
  EXPECT_FALSE(fs::exists(small_.run() / "longer"));
  EXPECT_FALSE(fs::exists(small_.run() / "before_fresh"));
}

// Before a walk: the text of all phases, one after another, as training then finds it.
TEST_F(PhasedRun, TextIsBuiltAndShownPhaseByPhase) {
  const auto in = [&](const fs::path& run) {
    return SmallRun::quoted(life()) + " --text " + SmallRun::quoted(small_.text()) +
           " --set run=" + SmallRun::quoted(run) + " --quiet ";
  };
  const std::string on = in(small_.run());
  const auto data = [](const std::string& rest) {
    const CommandResult result = run_hadal("data " + rest);
    EXPECT_EQ(result.code, 0) << result.err;
    return result;
  };
  expect_words(data("build " + on + "--dry-run").out,
               {"phase base (pretrain)", "phase longer (extend)", "nothing was"});
  EXPECT_FALSE(fs::exists(small_.run()));
  expect_words(data("explain " + on + "--phase longer").out, {"sequences x 64"});  // and the tokenizer before it
  EXPECT_FALSE(fs::exists(small_.run() / "last"));
  expect_words(data("build " + on).out, {"phase base (pretrain)", "phase longer (extend)", "phase last (pretrain)"});
  expect_words(data("explain " + on).out, {"sequences x 32"});
  const fs::path divided = small_.run("divided");
  data("build " + in(divided) + "--ranks 2");
  std::map<std::string, fs::file_time_type> written;
  for (const char* phase : {"base", "longer", "last"})
    for (const auto& file : fs::directory_iterator(small_.run() / phase / "data" / "shards")) {
      written[file.path()] = fs::last_write_time(file);
      EXPECT_EQ(read_file(file.path()), read_file(divided / phase / "data" / "shards" / file.path().filename()));
    }
  ASSERT_EQ(run_hadal(train("run", "--until longer")).code, 0);
  for (const auto& [file, when] : written) EXPECT_EQ(fs::last_write_time(file), when) << file;
  const std::string run = "explain " + SmallRun::quoted(small_.run());
  expect_words(data(run).out, {"sequences x 64"});  // the last that has begun
  expect_words(data(run).err, {"phase longer (extend) of 3", "--phase NAME"});
  expect_words(data("explain " + SmallRun::quoted(small_.run("run:base"))).out, {"sequences x 32"});
  expect_words(data(run + " --phase base").out, {"sequences x 32"});
  expect_words(data("build " + SmallRun::quoted(small_.run()) + " --phase base").out, {"up to date"});
  EXPECT_EQ(run_hadal("inspect " + SmallRun::quoted(small_.run("run:base"))).code, 0);
  expect_words(run_hadal("data " + run + " --phase nobody").err, {"--phase nobody", "base, longer, last"});
  expect_words(run_hadal("data build " + SmallRun::quoted(small_.config()) + " --phase base").err, {"has no phases"});
}

// Of the last phase, whose own text is another, an item of the first one's text is known as well.
TEST_F(PhasedRun, AnEvaluationFindsItemsInTheTextsOfPhasesBefore) {
  const fs::path other = small_.root() / "other.txt", task = small_.root() / "t.yaml";
  atomic_write(other, small_text(3000, 2));
  atomic_write(life(), read_file(small_.config()) + three_phases(2, 1, 1) + "[[phase.data.sources]]\npaths = [\"" +
                           other.string() + "\"]\n");
  const CommandResult shared = run_hadal(train("run", "--set data.cache=/tmp/shared"));
  EXPECT_EQ(shared.code, 2);
  expect_words(shared.err, {"data.cache", "/tmp/shared", "'base' and 'last'"});
  ASSERT_EQ(run_hadal(train("run")).code, 0);
  atomic_write(small_.root() / "t.jsonl",
               json_text(nlohmann::json{{"q", small_text(30)}, {"c", {"deep", "cold"}}, {"g", 0}}) + "\n");
  atomic_write(task,
               "task: sea\ndataset_path: json\ndataset_kwargs: {data_files: {test: t.jsonl}}\ntest_split: test\n"
               "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\ndoc_to_target: g\n");
  for (const char* name : {"run", "run:last", "run:base"}) {
    const CommandResult said = run_hadal("eval " + model(name) + " --quiet --tasks " + SmallRun::quoted(task));
    ASSERT_EQ(said.code, 0) << said.err;
    EXPECT_NE(said.out.find("1 of 1 items stand in the text"), std::string::npos) << name << "\n" << said.out;
  }
  const CommandResult exported =
      run_hadal("export " + model("run") + " --to hf --quiet --output " + SmallRun::quoted(small_.run("theirs")));
  ASSERT_EQ(exported.code, 0) << exported.err;
  const CommandResult unknown =
      run_hadal("eval " + model("theirs") + " --overlap on --tasks " + SmallRun::quoted(task));
  EXPECT_NE(unknown.err.find("is no run, and nothing says on what text"), std::string::npos) << unknown.err;
}

TEST_F(PhasedRun, AControlStandsBesideTheMainLineAndOnItsPage) {
  atomic_write(life(), read_file(life()) + kControlPhase);
  ASSERT_EQ(run_hadal(train("run", "--set model.max_positions=128")).code, 0);
  const fs::path run = small_.run("run");
  const auto records = read_phase_records(run);
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(records[3].control_of, "longer");
  EXPECT_EQ(records[3].parent, records[0].model);
  EXPECT_EQ(records[3].data, records[1].data) << "the same text and tokens";
  EXPECT_NE(records[3].model, records[1].model);
  EXPECT_EQ(phase_run(run), run / "last") << "ended before the control, and is still what RUN means";
  const auto longer = steps_of(run / "longer"), plain = steps_of(run / "plain");
  ASSERT_EQ(longer.size(), plain.size());
  for (size_t i = 0; i < longer.size(); ++i)
    for (const char* key : {"step", "tokens", "sequences", "lr"}) EXPECT_EQ(longer[i][key], plain[i][key]) << key;
  EXPECT_NE(longer[0]["loss"], plain[0]["loss"]) << "the same batch read with other angles";
  const CommandResult shown = run_hadal("inspect " + SmallRun::quoted(run));
  EXPECT_NE(shown.out.find("extend, control of longer"), std::string::npos) << shown.out;

  for (const char* phase : {"base", "longer", "plain"}) {
    const CommandResult asked = run_hadal("eval --quiet " + model(std::string("run:") + phase) +
                                          " --tasks needle,positions --lengths 120 --limit 11 --record --text " +
                                          SmallRun::quoted(small_.text()));
    ASSERT_EQ(asked.code, 0) << asked.err;
  }
  ASSERT_EQ(run_hadal("report " + SmallRun::quoted(run)).code, 0);
  const std::string page = read_file(run / "report.html");
  EXPECT_EQ(html_fault(page), "");
  for (const char* part : {"before, after, and the same steps without YaRN", "before: base", "after: longer",
                           "without YaRN: plain", "64 to 127", "the same without YaRN"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  EXPECT_EQ(page.find("<title>plain</title>"), std::string::npos) << "a band of its own on the axis of tokens";
  EXPECT_EQ(page.find("Not asked alike"), std::string::npos);
}

TEST_F(PhasedRun, RanksWalkTheSamePhases) {
  const CommandResult ended = run_hadal(train("run", "--layout dp=2 --threads 2"));
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.out.find("3 of 3 phases"), std::string::npos) << ended.out;
}

}  // namespace
}  // namespace hadal
