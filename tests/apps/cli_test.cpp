// The command line as users meet it: help, exit codes, one-line errors, closed pipes, colours.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "apps/command.h"

namespace hadal {
namespace {

int lines(const std::string& text) { return int(std::count(text.begin(), text.end(), '\n')); }

void is_wrong_use(const std::string& arguments, const std::string& word) {
  const CommandResult result = run_hadal(arguments);
  EXPECT_EQ(result.code, 2) << arguments;
  EXPECT_EQ(result.out, "") << arguments;
  EXPECT_EQ(lines(result.err), 1) << result.err;
  EXPECT_EQ(result.err.rfind("hadal: error: ", 0), 0u) << result.err;
  EXPECT_NE(result.err.find(word), std::string::npos) << result.err;
}

TEST(CommandLine, WrongUseIsOneLineAndExitCodeTwo) {
  is_wrong_use("versio", "did you mean 'version'");
  is_wrong_use("version --jsn", "--jsn");
  is_wrong_use("version extra", "extra");
  is_wrong_use("--what version", "--what");
}

TEST(CommandLine, AValueOutOfBoundsIsNamedWithTheBound) {
  is_wrong_use("train x.toml --steps 0", "--steps: 0 is not above 0 (see hadal train --help)");
  is_wrong_use("train x.toml --stop-after=-3", "--stop-after: -3 is not above 0");
  is_wrong_use("train x.toml --steps nan", "--steps");
  is_wrong_use("train x.toml --steps +0", "--steps: +0 is not above 0");
  is_wrong_use("train x.toml --steps=-0x5", "--steps: -0x5 is not above 0");
  is_wrong_use("trace --model x --tokens 1 --tolerance=inf", "--tolerance: inf is not a finite number");
  is_wrong_use("trace --model x --tokens 1 --tolerance=-1e400", "--tolerance: -1e400 is not a finite number");
  is_wrong_use("data explain x.toml --sequences -1", "--sequences: -1 is below 0");
  is_wrong_use("trace --model x --tokens 1 --tolerance=-1e-3", "--tolerance: -1e-3 is below 0");
  is_wrong_use("trace --model x --tokens 1,b", "--tokens");
  is_wrong_use("version --threads 1", "--threads");
  is_wrong_use("train x.toml --threads 4097", "--threads: 4097 is not in 0 to 4096");
  is_wrong_use("train x.toml --set steps", "'steps' is not of the form key=value");
  is_wrong_use("export --model x --to gguf --output y --shard-size -5", "--shard-size: '-5' is not a size");
  is_wrong_use("export --model x --to onnx --output y", "--to: 'onnx' is none of hf, gguf");
}

TEST(CommandLine, AnUnknownTransportIsToldThoseThatThereAre) {
  for (const char* verb : {"train x.toml", "data build x.toml", "check layouts x.toml"})
    is_wrong_use(std::string(verb) + " --transport=tcp", "--transport: 'tcp' is none of auto, threads, mpi, nccl");
}

TEST(CommandLine, AnUnknownOptionGetsAGuessWhateverElseIsWrong) {
  is_wrong_use("generate --modle x", "unknown option '--modle'; did you mean '--model'? (see hadal generate --help)");
  is_wrong_use("train --stpes 5 x.toml", "'--stpes'; did you mean '--steps'?");
  is_wrong_use("train --stpes=5 x.toml", "'--stpes'; did you mean '--steps'?");
  is_wrong_use("score --model x --otput y --inptu z", "'--otput'; did you mean '--output'?");
  is_wrong_use("score --model x --somethingelse 3", "unknown option '--somethingelse' (see hadal score --help)");
  is_wrong_use("tokenizer train --vocabsize 300 --input x --output y", "did you mean '--vocab-size'?");
  is_wrong_use("generate --model x --jsn", "did you mean '--json'?");
}

TEST(CommandLine, TheParsersOwnWordsDoNotShineThrough) {
  is_wrong_use("train a b c", "'b', 'c' were not expected (see hadal train --help)");
  is_wrong_use("data", "say which: build, explain, check (see hadal data --help)");
  is_wrong_use("generate --model", "--model needs a value");
  is_wrong_use("generate --model a --model b", "--model was given 2 times");
  is_wrong_use("generate --model x --isa avx3", "--isa: 'avx3' is none of reference, avx2");
  is_wrong_use("generate --model x --isa avx3", "did you mean 'avx2'?");
  is_wrong_use("generate --model x --max-tokens 99999999999999999", "--max-tokens: 99999999999999999 is not in 0 to");
  is_wrong_use("generate --model x --max-tokens many", "--max-tokens: ");
  is_wrong_use("generate --model x --temperature warm", "--temperature: 'warm' is not a number");
  is_wrong_use("generate --model x --seed -1", "--seed: -1 is below 0");
  is_wrong_use("tokenizer train --vocab-size abc --input x --output y", "--vocab-size: ");
  is_wrong_use("export --model x --to hf --output y --shard-size 5XB", "'5XB' is not a size such as 500MB");
}

TEST(CommandLine, NothingAtAllShowsTheHelpAndIsWrongUse) {
  const CommandResult result = run_hadal("");
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.out.find("version"), std::string::npos);
}

// The names below "Subcommands:" in a help text.
std::vector<std::string> subcommands(const std::string& help) {
  std::vector<std::string> names;
  const size_t start = help.find("Subcommands:"), end = help.find("\n\n", start);  // examples follow
  if (start == std::string::npos) return names;
  for (size_t at = help.find("\n  ", start); at < end && at != std::string::npos; at = help.find("\n  ", at + 1)) {
    if (help[at + 3] != ' ') names.push_back(help.substr(at + 3, help.find(' ', at + 3) - at - 3));
  }
  return names;
}

TEST(CommandLine, EveryVerbHasHelpWithExamples) {
  std::vector<std::string> verbs = subcommands(run_hadal("--help").out);
  EXPECT_NE(std::find(verbs.begin(), verbs.end(), "version"), verbs.end());
  while (!verbs.empty()) {
    const std::string verb = verbs.back();
    verbs.pop_back();
    const CommandResult result = run_hadal(verb + " --help");
    EXPECT_EQ(result.code, 0) << verb;
    const std::vector<std::string> inner = subcommands(result.out);
    for (const std::string& name : inner) verbs.push_back(verb + " " + name);
    if (inner.empty()) {
      EXPECT_NE(result.out.find("Examples:"), std::string::npos) << "no examples in the help of " << verb;
    }
  }
}

TEST(CommandLine, VersionNamesTheKernels) {
  const CommandResult text = run_hadal("version"), json = run_hadal("version --json"), flag = run_hadal("--version");
  EXPECT_EQ(text.code, 0);
  EXPECT_NE(text.out.find("reference        runs here"), std::string::npos) << text.out;
  EXPECT_NE(json.out.find("\"instruction_sets\""), std::string::npos);
  EXPECT_EQ(flag.out.rfind("hadal ", 0), 0u) << flag.out;
  EXPECT_EQ(flag.code, 0);
}

TEST(CommandLine, AFullOrClosedStandardOutputIsAFailure) {
  const CommandResult full = run_hadal("version > /dev/full");
  EXPECT_EQ(full.code, 1);
  EXPECT_NE(full.err.find("standard output"), std::string::npos) << full.err;
  // The reader is gone before anything is written: an error of our own, not death by SIGPIPE.
  const CommandResult closed = run_hadal("version; echo code $? >&2; } | true", "{ sleep 0.2;");
  EXPECT_NE(closed.err.find("code 1"), std::string::npos) << closed.err;
}

TEST(CommandLine, PrintsNoColoursWhereNobodyWantsThem) {
  for (const char* before : {"NO_COLOR=1", "TERM=dumb", ""}) {
    EXPECT_EQ(run_hadal("versio", before).err.find('\033'), std::string::npos) << before;
  }
}

TEST(CommandLine, KeepsTheDotInACommaLocale) {
  const CommandResult result = run_hadal("version", "LC_ALL=de_DE.UTF-8");
  EXPECT_EQ(result.code, 0);
  EXPECT_NE(result.out.find("hadal 0."), std::string::npos) << result.out;
}

}  // namespace
}  // namespace hadal
