// hadal data as users meet it.
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace hadal
