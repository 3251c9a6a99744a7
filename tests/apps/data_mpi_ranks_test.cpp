// hadal data build as several processes: the files and the words of one, and one error where one of them fails.
#include <fstream>

#include "apps/mpi_run.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class MpiDataBuild : public MpiRun {
 protected:
  void SetUp() override {
    MpiRun::SetUp();
    std::string folder = (fs::temp_directory_path() / "hadal mpi data XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    dir_ = folder;
    for (int f = 0; f < 5; ++f) {
      std::ofstream lines(dir_ / fmt::format("{}.jsonl", f));
      for (int i = 0; i < 40 + 30 * f; ++i) lines << text_of(i % 37 + 20 * f);
    }
    std::ofstream(dir_ / "my.toml") << "[tokenizer]\nvocab_size = 300\n[data]\nholdout = \"tail\"\n"
                                       "[data.near_duplicates]\nacross = \"all\"\n"
                                       "[[data.sources]]\npaths = [\"*.jsonl\"]\n";
  }
  void TearDown() override {
    std::error_code code;
    if (!dir_.empty()) fs::remove_all(dir_, code);
  }
  static std::string text_of(int number) {
    std::string text = "{\"text\": \"";
    for (int word = 0; word < 60; ++word) text += fmt::format("word{} ", (number / 2 * 7919 + word * word) % 997);
    return text + (number % 2 ? "at last" : "") + "\"}\n";
  }
  CommandResult in_folder(const std::string& arguments, const std::string& before = "") const {
    return run_hadal(arguments, "cd '" + dir_.string() + "' && timeout 120 " + before);
  }
  static int64_t n_of(const std::string& text, const std::string& part) {
    int64_t n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
  }
  fs::path dir_;
};

TEST_F(MpiDataBuild, WritesAndPrintsWhatOneProcessDoesHoweverItIsStarted) {
  const auto build = [](const std::string& cache) { return "data build my.toml --set data.cache=" + cache; };
  const CommandResult one = in_folder(build("one"));
  ASSERT_EQ(one.code, 0) << one.err;
  EXPECT_TRUE(has(one.out, "near_duplicates")) << one.out;
  const CommandResult three = in_folder(build("three"), mpirun(3));
  ASSERT_EQ(three.code, 0) << three.err;
  EXPECT_EQ(n_of(three.out, "built now"), 1) << three.out;
  const std::string until = "tokenizer  ";
  EXPECT_EQ(three.out.substr(0, three.out.find(until)), one.out.substr(0, one.out.find(until)));
  const CommandResult itself = in_folder(build("itself") + " --ranks 2 --transport mpi");
  ASSERT_EQ(itself.code, 0) << itself.err;
  for (const std::string other : {"three", "itself"})
    EXPECT_EQ(run_hadal("version > /dev/null", "cd '" + dir_.string() + "' && diff -r -x .lock one " + other + ";").out,
              "");
  const CommandResult again = in_folder(build("three"), mpirun(2));
  EXPECT_EQ(n_of(again.out, "up to date"), 1) << again.out << again.err;
  EXPECT_EQ(in_folder(build("four") + " --dry-run", mpirun(3)).out, in_folder(build("four") + " --dry-run").out);
  EXPECT_FALSE(fs::exists(dir_ / "four"));
}

TEST_F(MpiDataBuild, AnErrorOfOneProcessIsSaidOnceAndEndsAll) {
  std::ofstream(dir_ / "0.jsonl", std::ios::app) << "no JSON\n";  // the smallest: not the first rank's
  const CommandResult result = in_folder("data build my.toml --set data.cache=cache", mpirun(3));
  EXPECT_NE(result.code, 0);
  EXPECT_NE(result.code, 124) << "it hung";
  EXPECT_EQ(n_of(result.err, "hadal: error: "), 1) << result.err;
  EXPECT_TRUE(has(result.err, "0.jsonl' line 41: not valid JSON")) << result.err;
  EXPECT_FALSE(has(result.err, "hadal: error: rank 0")) << result.err;
  EXPECT_FALSE(fs::exists(dir_ / "cache/shards/index.json"));
  const CommandResult absent = in_folder("data build none.toml", mpirun(3));
  EXPECT_NE(absent.code, 0);
  EXPECT_EQ(n_of(absent.err, "hadal: error: rank 0: "), 1) << absent.err;
  EXPECT_EQ(n_of(absent.err, "hadal: error: "), 1) << absent.err;
}

}  // namespace
}  // namespace hadal
