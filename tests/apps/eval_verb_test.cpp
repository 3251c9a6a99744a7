// hadal eval as a user types it: tables, files, generated data, comparisons, and one clear line for what is wrong.
#include <nlohmann/json.hpp>

#include "apps/model_verbs.h"
#include "base/json.h"

namespace hadal {
namespace {

using nlohmann::json;
using EvalVerb = ModelVerbs;

std::string path(const std::filesystem::path& file) { return SmallRun::quoted(file); }

TEST_F(EvalVerb, WritesATableAndTheFilesAndTheSameOnesAgain) {
  const auto folder = small_->root() / "scores";
  const std::string asked = "--tasks recall,arithmetic --limit 4 --chat off --seed 3 --quiet --to ";
  const auto first = verb("eval", asked + path(folder / "a") + " --threads 1");
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_NE(first.out.find("exact_match"), std::string::npos) << first.out;
  for (const char* const name : {"results.json", "samples_recall.jsonl", "samples_arithmetic.jsonl", "recall.html"})
    EXPECT_TRUE(std::filesystem::exists(folder / "a" / name)) << name;
  const auto second = verb("eval", asked + path(folder / "b") + " --threads 2");
  EXPECT_EQ(all_files(folder / "a"), all_files(folder / "b")) << "threads change nothing";
  const auto compared = run_hadal("eval compare " + path(folder / "a") + " " + path(folder / "b"));
  EXPECT_EQ(compared.code, 0) << compared.err;
  EXPECT_NE(compared.out.find("+0.0000"), std::string::npos) << compared.out;
}

TEST_F(EvalVerb, ReadsTaskFilesBesideTheirData) {
  atomic_write(small_->root() / "t.jsonl", "{\"q\": \"the sea is\", \"c\": [\"deep\", \"cold\"], \"g\": 0}\n");
  atomic_write(small_->root() / "t.yaml",
               "task: sea\ndataset_path: json\ndataset_kwargs: {data_files: {test: t.jsonl}}\ntest_split: test\n"
               "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\ndoc_to_target: g\n");
  const auto said = verb("eval", "--tasks " + path(small_->root() / "t.yaml") + " --json --quiet");
  ASSERT_EQ(said.code, 0) << said.err;
  const json results = parse_json<json>(said.out, "what it said");
  EXPECT_TRUE(results["results"]["sea"].contains("acc_norm,none"));
  EXPECT_EQ(results["n-samples"]["sea"]["effective"], 1);
}

TEST_F(EvalVerb, RefusesWhatIsWrongInOneLine) {
  refused(verb("eval", "--tasks rekall"), 2, {"no task 'rekall'", "did you mean recall?"});
  refused(verb("eval", "--quiet"), 2, {"--tasks is missing"});
  refused(run_hadal("eval --tasks recall"), 2, {"--model is missing"});
  refused(verb("eval", "--tasks recall --samples 4 --temperature 0"), 2, {"4 times the same answer"});
  refused(verb("eval", "--tasks needle --lengths 65"), 2, {"65", "64 positions"});
  refused(verb("eval", "--tasks gsm8k"), 2, {"--gsm8k FILE"});
  refused(verb("eval", "--tasks nosuch.yaml"), 1, {"nosuch.yaml"});
  refused(run_hadal("eval compare nosuch nosuch"), 1, {"nosuch", "samples_TASK.jsonl"});
}

TEST_F(EvalVerb, GeneratesTrainingDataFromASeed) {
  const auto made = run_hadal("eval generate word_problems --n 3 --seed 4");
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(std::count(made.out.begin(), made.out.end(), '\n'), 3);
  const json line = parse_json<json>(made.out.substr(0, made.out.find('\n')), "line");
  EXPECT_EQ(line["messages"][1]["role"], "assistant");
  EXPECT_EQ(made.out, run_hadal("eval generate word_problems --n 3 --seed 4").out);
  EXPECT_EQ(run_hadal("eval generate word_problems --n 1 --first 2 --seed 4").out,
            made.out.substr(made.out.rfind('\n', made.out.size() - 2) + 1));
  EXPECT_NE(run_hadal("eval generate needle --n 1 --bytes 300").out.find("{\"text\":\""), std::string::npos);
  refused(run_hadal("eval generate needle --bytes 0"), 2, {"--bytes 0"});
}

}  // namespace
}  // namespace hadal
