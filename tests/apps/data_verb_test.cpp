// hadal data as users meet it.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "apps/command.h"

namespace hadal {
namespace {
namespace fs = std::filesystem;

class DataVerb : public ::testing::Test {
 protected:
  DataVerb() {
    std::string folder = (fs::temp_directory_path() / "hadal data verb é XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no temporary directory");
    dir_ = folder;
    std::string text;
    for (int i = 0; i < 200; ++i) text += "line " + std::to_string(i * i) + " of a small text\n";
    std::ofstream(dir_ / "my text.txt") << text;
    std::ofstream(dir_ / "my.toml")
        << "[tokenizer]\nvocab_size = 300\n[data]\nholdout = \"tail\"\nsequence_length = 32\nfim_rate = 0.5\n";
  }
  ~DataVerb() override { fs::remove_all(dir_); }
  CommandResult data(const std::string& verb, const std::string& rest = "") {
    return run_hadal("data " + verb + " my.toml --text 'my text.txt' " + rest, "cd '" + dir_.string() + "' && ");
  }
  fs::path dir_;
};

TEST_F(DataVerb, BuildPrintsTheTableAndThenFindsEverythingUpToDate) {
  const CommandResult first = data("build");
  EXPECT_EQ(first.code, 0) << first.err;
  for (const char* part : {"my text.txt", "training", "held out", "tokens", "(300 tokens, trained now)", "built now"})
    EXPECT_NE(first.out.find(part), std::string::npos) << part << "\n" << first.out;
  const CommandResult second = data("build");
  EXPECT_NE(second.out.find("up to date"), std::string::npos) << second.out;
  std::ofstream(dir_ / "my text.txt", std::ios::app) << "one more line\n";
  const CommandResult third = data("build");
  EXPECT_EQ(third.code, 0);
  EXPECT_NE(third.err.find("changed: my text.txt"), std::string::npos) << third.err;
  EXPECT_NE(third.out.find("built now"), std::string::npos);
}

TEST_F(DataVerb, RanksAsThreadsPrintAndWriteWhatOneDoes) {
  std::ofstream(dir_ / "b.txt") << "another text of few words, and again another text of few words\n";
  const std::string more = "--text b.txt --set data.cache=";
  const CommandResult one = data("build", more + "one"), three = data("build", more + "three --ranks 3");
  EXPECT_EQ(one.code, 0) << one.err;
  EXPECT_EQ(three.code, 0) << three.err;
  std::string out = three.out;
  for (size_t at = out.find("three/"); at != std::string::npos; at = out.find("three/")) out.replace(at, 5, "one");
  EXPECT_EQ(out.substr(0, out.find("tokenizer ")), one.out.substr(0, one.out.find("tokenizer ")));
  EXPECT_EQ(run_hadal("version > /dev/null", "cd '" + dir_.string() + "' && diff -r -x .lock one three;").out, "");
  EXPECT_EQ(data("build", "--dry-run --ranks 3").out, data("build", "--dry-run").out);
  const CommandResult missing = data("build", "--ranks 2 --text nowhere.txt");
  EXPECT_NE(missing.code, 0);
  EXPECT_NE(missing.err.find("hadal: error: rank 0: "), std::string::npos) << missing.err;
  EXPECT_EQ(std::count(missing.err.begin(), missing.err.end(), '\n'), 1) << missing.err;
}

TEST_F(DataVerb, LinksAreFollowedAndThoseToNothingNamed) {
  fs::create_directories(dir_ / "src");
  fs::create_directories(dir_ / "ld");
  fs::copy(dir_ / "my text.txt", dir_ / "src" / "in.txt");
  fs::create_directory_symlink("../src", dir_ / "ld" / "lnk");
  fs::create_symlink("nowhere", dir_ / "ld" / "gone.txt");
  const std::string build = "data build my.toml --text ld", cd = "cd '" + dir_.string() + "' && ";
  for (const char* when : {"built now", "up to date"}) {
    const CommandResult result = run_hadal(build, cd);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_NE(result.out.find(when), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("left out: 'ld/gone.txt' is a link to nothing"), std::string::npos) << result.out;
  }
}

TEST_F(DataVerb, ExplainShowsAStepAndWritesAPage) {
  const CommandResult shown = data("explain", "--step 3 --quiet");
  EXPECT_EQ(shown.code, 0) << shown.err;
  for (const char* part : {"step 3: 16 sequences x 32", "FIM hole", "mask: none", "number 32 of the stream"})
    EXPECT_NE(shown.out.find(part), std::string::npos) << part << "\n" << shown.out;
  EXPECT_EQ(data("explain", "--step 3 --html 'a page.html'").out, "a page.html\n");
  EXPECT_NE(read_file(dir_ / "a page.html").find("</html>"), std::string::npos);
}

TEST_F(DataVerb, ErrorsAreOneLineWithTheRightCode) {
  const CommandResult end = data("explain", "--step 5000 --quiet --set data.at_end=stop");
  EXPECT_EQ(end.code, 2);
  EXPECT_NE(end.err.find("the text ends before step 5000"), std::string::npos) << end.err;
  EXPECT_EQ(data("explain", "--step 0").code, 2);
  const CommandResult missing = run_hadal("data build my.toml --text nowhere.txt", "cd '" + dir_.string() + "' && ");
  EXPECT_EQ(missing.code, 1);
  EXPECT_NE(missing.err.find("nowhere.txt"), std::string::npos) << missing.err;
  std::ofstream(dir_ / "empty.txt");
  EXPECT_EQ(run_hadal("data build my.toml --text empty.txt", "cd '" + dir_.string() + "' && ").code, 2);
}

TEST_F(DataVerb, AFullDiskIsAnErrorOfExitCodeOne) {
  // 2 KiB for any file: the tokenizer does not fit.
  const CommandResult full = run_hadal("data build my.toml --text 'my text.txt'",
                                       "cd '" + dir_.string() + "' && ulimit -f 2 && trap '' XFSZ && ");
  EXPECT_EQ(full.code, 1) << full.err;
  EXPECT_NE(full.err.find("cannot write"), std::string::npos) << full.err;
  EXPECT_EQ(data("build").code, 0) << "the next build works";
}

TEST_F(DataVerb, ADryRunShowsWhatWouldGoAndWritesNothing) {
  std::ofstream lines(dir_ / "docs.jsonl");
  const std::string story = "the old man went down to the sea with his boat in the morning and came back at noon ";
  for (int i = 0; i < 40; ++i) lines << "{\"text\": \"" << i % 20 * 7919 << " " << story << i / 20 << "\"}\n";
  lines << "{\"text\": \"somebody asks here: what is the name of the ship, and who built it?\"}\n";
  lines.close();
  std::ofstream(dir_ / "test.jsonl") << "{\"question\": \"What is the name of the ship, and who built it?\"}\n";
  std::ofstream(dir_ / "my.toml", std::ios::app) << "[data.near_duplicates]\nacross = \"all\"\nfold_numbers = false\n"
                                                 << "[data.decontaminate]\nfiles = [\"test.jsonl\"]\n";
  const std::string cd = "cd '" + dir_.string() + "' && ", on = " my.toml --text docs.jsonl ";
  const CommandResult dry = run_hadal("data build" + on + "--dry-run", cd);
  EXPECT_EQ(dry.code, 0) << dry.err;
  for (const char* part :
       {"near_duplicates", "decontaminate.short_item", "1 evaluation item of 1 file", "nothing was written"})
    EXPECT_NE(dry.out.find(part), std::string::npos) << part << "\n" << dry.out;
  EXPECT_FALSE(fs::exists(dir_ / "runs"));
  const CommandResult sample = run_hadal("data build" + on + "--dry-run --sample 50%", cd);
  EXPECT_NE(sample.out.find("50.0 % of the documents"), std::string::npos) << sample.out << sample.err;
  const CommandResult wrong = run_hadal("data build" + on + "--dry-run --sample 0", cd);
  EXPECT_EQ(wrong.code, 2);
  EXPECT_NE(wrong.err.find("such as 1% or 0.01"), std::string::npos) << wrong.err;
  EXPECT_EQ(run_hadal("data build" + on + "--sample 1%", cd).code, 2) << "a sample is for a dry run alone";
  const CommandResult built = run_hadal("data build" + on, cd);
  EXPECT_EQ(built.code, 0) << built.err;
  EXPECT_NE(built.out.find("tokens, about"), std::string::npos) << built.out;
  const CommandResult shown = run_hadal("data explain" + on + "--removed --rule decontaminate", cd);
  EXPECT_NE(shown.out.find("evaluation item: 'test.jsonl' line 1"), std::string::npos) << shown.out << shown.err;
  EXPECT_NE(shown.out.find("1 of 1 removed"), std::string::npos) << shown.out;
  fs::remove(dir_ / "test.jsonl");
  const CommandResult absent = run_hadal("data build" + on + "--dry-run", cd);
  EXPECT_EQ(absent.code, 1);
  EXPECT_NE(absent.err.find("test.jsonl"), std::string::npos) << absent.err;
}

}  // namespace
}  // namespace hadal
