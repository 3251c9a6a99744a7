// The page of a run with phases, and evaluations that are kept in it.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/html_check.h"
#include "apps/run_metrics.h"
#include "apps/small_run.h"
#include "base/html.h"
#include "data/prepare.h"
#include "phases/phase_report.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHostile = "<script>alert(\"1\")</script> & <b>";

std::string toml_text(const std::string& text) { return "'" + text + "'"; }

// Three phases over sources with a hostile name, with a rule that removes all, with near duplicates and an evaluation
// item; and over dialogues.
class PageOfPhases : public ::testing::Test {
 protected:
  PageOfPhases() {
    std::string removed, dialogues;
    for (int i = 0; i < 20; ++i) removed += "{\"text\": \"short " + std::to_string(i) + "\"}\n";
    for (int i = 0; i < 40; ++i)
      dialogues += "{\"prompt\": \"is " + std::to_string(i) + " a number\", \"completion\": \"yes <i>it is</i>\"}\n";
    const std::string page = small_text(60, 5), item = "which of these nine small words is the one that is asked for";
    std::string copies;
    for (const std::string& text : {page, page + "more", small_text(60, 6) + item, small_text(60, 7)})
      copies += json_text(nlohmann::json{{"text", text}}) + "\n";
    atomic_write(small_.root() / "copies.jsonl", copies);
    atomic_write(small_.root() / "item.txt", item + "\n");
    atomic_write(small_.root() / "removed.jsonl", removed);
    atomic_write(small_.root() / "dialogues.jsonl", dialogues);
    const auto source = [&](const std::string& name, const fs::path& path, const std::string& more) {
      return "name = " + toml_text(name) + "\npaths = [" + toml_text(path.string()) + "]\n" + more;
    };
    atomic_write(life(), read_file(small_.config()) + "prompts = [" + toml_text(kHostile) + "]\n[[data.sources]]\n" +
                             source(kHostile, small_.text(), "domain = 'sea'\n") + "[[data.sources]]\n" +
                             source("rubbish", small_.root() / "removed.jsonl", "rules = ['gopher_quality']\n") +
                             "[[data.sources]]\n" + source("copies", small_.root() / "copies.jsonl", "") +
                             "[data.near_duplicates]\nacross = 'source'\n[data.decontaminate]\nngram = 12\nfiles = [" +
                             toml_text((small_.root() / "item.txt").string()) + "]\n" + R"(
[[phase]]
name = "base"
kind = "pretrain"
[phase.train]
steps = 4
[[phase]]
name = "longer"
kind = "extend"
[phase.data]
sequence_length = 64
[phase.train]
steps = 3
batch_sequences = 3
[phase.model]
max_positions = 128
yarn = { factor = 4.0, original_positions = 32 }
[[phase]]
name = "chat"
kind = "sft"
[phase.data]
sequence_length = 128
[phase.train]
batch_sequences = 4
[[phase.data.sources]]
)" + source("dialogues", small_.root() / "dialogues.jsonl", "format = 'prompt_completion'\nnear_duplicates = false\n"));
  }
  fs::path life() const { return small_.root() / "life.toml"; }
  fs::path run() const { return small_.run("life"); }
  CommandResult train(const std::string& more = "") const {
    return run_hadal("train " + SmallRun::quoted(life()) + " --run " + SmallRun::quoted(run()) + " " + more);
  }
  SmallRun small_;
};

TEST_F(PageOfPhases, ShowsAllOfThemOnOneAxisAndEscapesWhatItIsTold) {
  const CommandResult ended = train();
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_NE(ended.err.find("page of all phases"), std::string::npos) << ended.err;
  const std::string page = phase_report_html(run());
  EXPECT_EQ(read_file(run() / "report.html"), page);
  EXPECT_EQ(html_fault(page), "");
  for (const char* phase : {"base", "longer", "chat"}) {
    EXPECT_GE(count_of(page, std::string("<title>") + phase + "</title></rect>"), 8u) << "a band in each chart";
    EXPECT_NE(page.find(std::string("<h3>") + phase + "</h3>"), std::string::npos);
  }
  EXPECT_EQ(page.find(kHostile), std::string::npos);
  EXPECT_GE(count_of(page, html_escape(kHostile)), 3u) << "in the table of sources, in the packing and in the samples";
  for (const char* asked : {"http:", "https:", "url(", "src=", "href="}) EXPECT_EQ(page.find(asked), std::string::npos);

  // Bands lie side by side, as wide as their phases have tokens.
  std::vector<double> tokens, begins, widths;
  size_t at = 0;
  for (const char* phase : {"base", "longer", "chat"}) {
    tokens.push_back(steps_of(run() / phase).back()["tokens"].get<double>());
    at = page.find("<rect class=\"band\" x=\"", at) + 22;
    begins.push_back(std::stod(page.substr(at)));
    widths.push_back(std::stod(page.substr(page.find("width=\"", at) + 7)));
  }
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(widths[i] / widths[0], tokens[i] / tokens[0], 0.01);
    if (i > 0) {
      EXPECT_NEAR(begins[i], begins[i - 1] + widths[i - 1], 0.2);
    }
  }
  EXPECT_NE(page.find("training loss by domain"), std::string::npos);
  EXPECT_NE(page.find("packed sequences of step 1, 64 tokens each"), std::string::npos);

  const data::ShardIndex index = data::read_index(run() / "base" / "data" / "shards");
  ASSERT_EQ(index.counts[1].by_rule.size(), 1u);
  const auto& [rule, removed] = *index.counts[1].by_rule.begin();
  EXPECT_NE(page.find("<tr><td>rubbish</td><td>" + rule + "</td><td>" + std::to_string(removed.documents) + "</td>"),
            std::string::npos);
  EXPECT_EQ(removed.documents, 20);
  for (const char* of_copies : {"near_duplicates", "decontaminate.ngram"}) {
    const data::RuleCounts& gone = index.counts[2].by_rule.at(of_copies);
    EXPECT_EQ(gone.documents, 1) << of_copies;
    EXPECT_NE(page.find(fmt::format("<tr><td>copies</td><td>{}</td><td>1</td><td>25.0 %</td><td>{}</td><td>1</td></tr>",
                                    of_copies, gone.bytes)),
              std::string::npos)
        << of_copies;
  }
}

TEST_F(PageOfPhases, ShowsAPhaseThatHasBegunAndNamesThoseThatHaveNot) {
  ASSERT_EQ(train("--quiet --until base").code, 0);
  const CommandResult made = run_hadal("report " + SmallRun::quoted(run()));
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(made.out, (run() / "report.html").string() + "\n");
  const std::string page = read_file(run() / "report.html");
  EXPECT_EQ(html_fault(page), "");
  EXPECT_NE(page.find("longer: no step yet"), std::string::npos);
  const CommandResult one = run_hadal("report " + SmallRun::quoted(run().string() + ":base"));
  ASSERT_EQ(one.code, 0) << one.err;
  const std::string of_one = read_file(run() / "base" / "report.html");
  EXPECT_EQ(html_fault(of_one), "");
  EXPECT_NE(of_one.find("removed by"), std::string::npos);
  EXPECT_EQ(of_one.find(kHostile), std::string::npos);
}

TEST_F(PageOfPhases, HasTheFiguresOfEvaluationsThatTheRunKeeps) {
  ASSERT_EQ(train("--quiet").code, 0);
  const auto evaluated = [&](const std::string& phase, const std::string& more) {
    return run_hadal("eval --quiet --model " + SmallRun::quoted(run().string() + ":" + phase) + " " + more);
  };
  const CommandResult asked = evaluated("chat", "--tasks arithmetic --limit 4 --record --json");
  ASSERT_EQ(asked.code, 0) << asked.err;
  ASSERT_EQ(evaluated("longer", "--tasks needle --lengths 120 --limit 11 --record").code, 0);
  const auto kept = parse_json<nlohmann::json>(read_file(run() / "chat" / "evals" / "arithmetic.json"), "kept");
  const auto printed = parse_json<nlohmann::json>(asked.out, "printed").at("results").at("arithmetic");
  for (const auto& metric : kept.at("metrics"))
    EXPECT_EQ(metric.at("value"), printed.at(std::string(metric.at("name")) + ",none"));
  EXPECT_EQ(kept.at("samples").size(), 4u);
  EXPECT_EQ(kept.at("items"), 4);
  ASSERT_EQ(run_hadal("report " + SmallRun::quoted(run())).code, 0);
  const std::string page = read_file(run() / "report.html");
  EXPECT_EQ(html_fault(page), "");
  EXPECT_NE(page.find("<tr><td>arithmetic</td><td>exact_match</td><td>-</td><td>-</td><td>"), std::string::npos);
  EXPECT_NE(page.find("longer: needle, likeliest of 16"), std::string::npos);
  EXPECT_NE(page.find("arithmetic: 4 of 4 items"), std::string::npos);
  const CommandResult no_run =
      run_hadal("eval --quiet --model " + SmallRun::quoted(small_.root()) + " --tasks arithmetic --record");
  EXPECT_EQ(no_run.code, 2);
  EXPECT_NE(no_run.err.find("--record keeps results in the directory of a run"), std::string::npos) << no_run.err;
}

}  // namespace
}  // namespace hadal
