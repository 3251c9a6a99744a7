// Text as it comes to the verbs: through pipes, in other formats than its name says, with bad lines.
#include <gtest/gtest.h>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/testing.h"

namespace hadal {
namespace {

using testing::has;

class Inputs : public ::testing::Test {
 protected:
  Inputs() {
    atomic_write(small_.root() / "lines.jsonl", "{\"text\": \"the sea is deep\"}\nno JSON\n{\"text\": \"and cold\"}\n");
  }
  // A script of bash, in the folder of the text.
  CommandResult bash(const std::string& script) {
    atomic_write(small_.root() / "script.sh", script);
    return run_hadal("", "cd " + SmallRun::quoted(small_.root()) + " && timeout -k 5 60 bash script.sh; exit $?; : ");
  }
  std::string train(const std::string& input, const std::string& more = "") {
    return "\"$HADAL\" tokenizer train -q --vocab-size 300 --overwrite --output tok --input " + input + " " + more +
           "\n";
  }
  std::string tokenizer() { return read_file(small_.root() / "tok/tokenizer.json"); }
  SmallRun small_;
};

TEST_F(Inputs, ATokenizerIsTrainedOnWhatAPipeGives) {
  const std::string text = "'täxt file.txt'";
  ASSERT_EQ(bash(train(text)).code, 0);
  const std::string expected = tokenizer();
  for (const std::string& way :
       {train("<(cat " + text + ")"), "mkfifo ff; cat " + text + " > ff &\n" + train("ff"),
        "cat " + text + " | " + train("/dev/stdin"), "cat " + text + " | " + train("-"), train("-", "< " + text),
        "gzip -c " + text + " | " + train("-"), train("<(zstd -q -c " + text + ")")}) {
    std::filesystem::remove_all(small_.root() / "tok");
    const auto result = bash(way);
    EXPECT_EQ(result.code, 0) << way << result.err;
    if (result.code == 0) {
      EXPECT_EQ(tokenizer(), expected) << way;
    }
  }
}

TEST_F(Inputs, WhatIsReadTwiceRefusesAPipeByName) {
  const std::string build = "\"$HADAL\" data build small.toml --set run=built -q --text ";
  for (const std::string& text :
       {std::string("<(cat 'täxt file.txt')"), std::string("ff"), std::string("/dev/stdin")}) {
    const auto result = bash("mkfifo ff; cat 'täxt file.txt' | " + build + text);
    EXPECT_EQ(result.code, 2) << text << result.err;
    EXPECT_TRUE(has(result.err, "is a pipe") && has(result.err, "write it to a file first")) << result.err;
    EXPECT_FALSE(has(result.err, "filesystem error")) << result.err;
    std::filesystem::remove(small_.root() / "ff");
  }
  EXPECT_EQ(bash(build + "/dev/stdin < 'täxt file.txt'").code, 0);  // a file, under its own name
  EXPECT_TRUE(has(read_file(small_.root() / "built/data/shards/index.json"), "täxt file.txt"));
}

TEST_F(Inputs, WaitingForAPipeEndsWithTheFirstSignal) {
  for (const std::string verb : {"tokenizer train --vocab-size 300 --output tok --input ff", "tokenizer info -t ff",
                                 "data build small.toml --text ff", "train ff", "inspect ff", "score --model ff"}) {
    const auto result = bash("mkfifo ff; timeout -s TERM -k 20 1 \"$HADAL\" " + verb);
    EXPECT_NE(result.code, 137) << verb << ": had to be killed";
    EXPECT_NE(result.code, 0) << verb;
    std::filesystem::remove(small_.root() / "ff");
  }
}

TEST_F(Inputs, AReaderThatLeavesEndsAnyVerbWithoutAWord) {
  ASSERT_EQ(bash(train("'täxt file.txt'")).code, 0);
  for (const std::string verb : {"--help", "train --help-config", "tokenizer info -t tok", "version",
                                 "inspect small.toml", "data build small.toml -q --set run=r --text 'täxt file.txt'"}) {
    const auto result = bash("( \"$HADAL\" " + verb + "; echo code $? >&2 ) | true");
    EXPECT_TRUE(result.err == "code 141\n" || result.err == "code 0\n") << verb << ": " << result.err;
  }
}

TEST_F(Inputs, AClosedStandardErrorEndsNothingAndAbortsNothing) {
  const auto code = [&](const std::string& verb) {
    return bash("( \"$HADAL\" " + verb + " 2>&1; echo $? > code ) | true; cat code").out;
  };
  EXPECT_EQ(code("train small.toml --run run --steps 2 --text 'täxt file.txt'"), "141\n");
  EXPECT_TRUE(std::filesystem::exists(small_.run() / "checkpoints"));  // it went on
  EXPECT_EQ(code("data build small.toml --text nowhere"), "1\n");
  EXPECT_EQ(code("nonsense"), "2\n");
}

TEST_F(Inputs, FilesAreReadForWhatTheyHoldInEveryVerb) {
  ASSERT_EQ(bash(train("'täxt file.txt'")).code, 0);
  const std::string expected = tokenizer();
  ASSERT_EQ(bash("gzip -c 'täxt file.txt' > packed; cp 'täxt file.txt' plain.gz").code, 0);
  for (const char* file : {"packed", "plain.gz"}) {
    ASSERT_EQ(bash(train(file)).code, 0) << file;
    EXPECT_EQ(tokenizer(), expected) << file;
  }
  const std::string info = "\"$HADAL\" tokenizer info -t tok --json --text ";
  EXPECT_EQ(bash(info + "packed").out, bash(info + "'täxt file.txt'").out);
  EXPECT_TRUE(has(bash(info + "packed").err, "'packed' is a gzip file by what it holds"));
  atomic_write(small_.root() / "book.txt", std::string("%PDF-1.4\n\1\2\0", 12));
  for (const std::string& verb : {info + "book.txt", train("book.txt"),
                                  std::string("\"$HADAL\" data build small.toml -q --set run=r --text book.txt")}) {
    const auto result = bash(verb);
    EXPECT_EQ(result.code, 2) << verb;
    EXPECT_TRUE(has(result.err, "'book.txt' is a PDF document") && has(result.err, "pdftotext")) << result.err;
  }
}

TEST_F(Inputs, BadLinesStopOrAreSkippedAsTheUserSays) {
  const auto stopped = bash(train("lines.jsonl"));
  EXPECT_EQ(stopped.code, 1);
  EXPECT_TRUE(has(stopped.err, "line 2") && has(stopped.err, "--on-bad-line skip")) << stopped.err;
  const auto skipped =
      bash("\"$HADAL\" tokenizer train --vocab-size 300 --output tok --input lines.jsonl --on-bad-line skip");
  EXPECT_EQ(skipped.code, 0) << skipped.err;
  EXPECT_TRUE(has(skipped.err, "skipped: 'lines.jsonl' line 2: not valid JSON")) << skipped.err;
  EXPECT_EQ(bash(train("lines.jsonl", "--on-bad-line perhaps")).code, 2);
  const auto other = bash(train("lines.jsonl", "--text-field body"));
  EXPECT_TRUE(has(other.err, "no field 'body' (fields: text); --text-field names another")) << other.err;
  const std::string build = "\"$HADAL\" data build small.toml -q --set run=r --text lines.jsonl ";
  const auto refused = bash(build);
  EXPECT_TRUE(has(refused.err, "line 2") && has(refused.err, "data.on_bad_line = \"skip\"")) << refused.err;
  for (int i = 0; i < 2; ++i) {  // also when it is up to date
    const auto built = bash(build + "--set data.on_bad_line=skip");
    EXPECT_EQ(built.code, 0) << built.err;
    EXPECT_TRUE(has(built.out, "read as JSON lines: 1 .jsonl")) << built.out;
    EXPECT_TRUE(has(built.out, "skipped: 'lines.jsonl' line 2: not valid JSON")) << built.out;
    EXPECT_TRUE(has(built.out, "bad lines")) << built.out;
  }
}

}  // namespace
}  // namespace hadal
