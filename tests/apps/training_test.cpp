// Training as a user meets it: the whole walk, resuming, refusing, and every bad input as one clear line.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <clocale>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/hash.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "exchange/loaded_model.h"
#include "train/validation.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

void expect_error(const CommandResult& result, int code, std::initializer_list<std::string> words) {
  EXPECT_EQ(result.code, code) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_EQ(result.err.rfind("hadal: error: ", 0), 0u) << result.err;
  for (const auto& word : words)
    EXPECT_NE(result.err.find(word), std::string::npos) << "'" << word << "' is not in: " << result.err;
}

std::string final_hash(const fs::path& run) {
  const auto found = list_checkpoints(run / "checkpoints");
  if (found.empty()) return "none";
  std::string all;
  for (const char* name : {"model.safetensors", "optimizer.safetensors", "state.json"})
    all += sha256_hex(read_file(found.back() / name));
  return all;
}

TEST(Walk, FromTextToGeneratedText) {
  const SmallRun small;
  const auto trained = run_hadal(small.train());
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(trained.out.find("bits per byte"), std::string::npos) << trained.out;
  const std::string model = "--model " + SmallRun::quoted(small.run());

  const auto text = run_hadal("generate " + model + " --prompt 'the sea' --max-tokens 20 --seed 3");
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_EQ(text.out.rfind("the sea", 0), 0u) << text.out;
  EXPECT_EQ(text.out, run_hadal("generate " + model + " --prompt 'the sea' --max-tokens 20 --seed 3 --threads 1").out);
  const auto ids = run_hadal("generate " + model + " --prompt-tokens 1,50,60 --max-tokens 5 --temperature 0 --json");
  EXPECT_EQ(parse_json<json>(ids.out, "what it said")["tokens"].size(), 5u) << ids.out << ids.err;
  EXPECT_EQ(run_hadal("generate " + model + " --fim-prefix 'the ' --fim-suffix ' deep' --max-tokens 4").code, 0);

  const auto scored =
      run_hadal("score " + model, "printf '{\"text\": \"the sea is deep\"}\\n{\"tokens\": [1, 50, 60]}\\n' |");
  ASSERT_EQ(scored.code, 0) << scored.err;
  const auto first = parse_json<json>(scored.out.substr(0, scored.out.find('\n')), "what it said");
  EXPECT_GT(first["bits_per_byte"].get<double>(), 0);
  EXPECT_EQ(first["logprobs"].size() + 1, first["tokens"].size());
  double sum = 0;
  for (const auto& value : first["logprobs"]) sum += value.get<double>();
  EXPECT_DOUBLE_EQ(sum, first["sum"].get<double>());

  const auto report = run_hadal("report " + SmallRun::quoted(small.run()));
  ASSERT_EQ(report.code, 0) << report.err;
  const auto page = read_file(small.run() / "report.html");
  for (const char* word : {"held-out bits per byte", "gradient norm per layer", "expert load", "learning rate",
                           "tokens per second", "memory by part", "time by part", "Samples", "What was trained",
                           "held-out tokens", "hidden_size = 24", "resident memory (MiB)", "<circle"}) {
    EXPECT_NE(page.find(word), std::string::npos) << word;
  }
  EXPECT_EQ(page.find("http://"), std::string::npos);
  EXPECT_EQ(page.find("https://"), std::string::npos);
  EXPECT_EQ(page.substr(0, page.find("<details>")).find("nan"), std::string::npos);  // behind it stands on_nan

  const auto inspected = run_hadal("inspect " + model + " --json");
  EXPECT_GT(parse_json<json>(inspected.out, "what it said")["parameters"].get<int64_t>(), 1000) << inspected.err;
}

TEST(Resume, StoppedAnywhereEqualsUninterruptedForAnyThreadCount) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("whole")).code, 0);
  ASSERT_EQ(run_hadal(small.train("parts", "--stop-after 5")).code, 0);
  ASSERT_EQ(run_hadal(small.train("parts", "--stop-after 11 --threads 1")).code, 0);
  const auto last = run_hadal("train " + SmallRun::quoted(small.run("parts")) +
                              " --quiet --threads 2");  // a run directory resumes itself
  ASSERT_EQ(last.code, 0) << last.err;
  EXPECT_NE(last.out.find("resumed at 11"), std::string::npos) << last.out;
  EXPECT_EQ(final_hash(small.run("whole")), final_hash(small.run("parts")));
  // The metrics have every step once.
  const auto metrics = read_file(small.run("parts") / "metrics.jsonl");
  size_t steps = 0;
  for (size_t at = metrics.find("\"kind\":\"step\""); at != std::string::npos;
       at = metrics.find("\"kind\":\"step\"", at + 1))
    ++steps;
  EXPECT_EQ(steps, 24u);
}

TEST(Resume, InterruptSavesAndIsFine) {
  const SmallRun small;
  // SIGINT while steps are running; the exit code must be 0 and a checkpoint must stand.
  const auto result =
      run_hadal(small.train("run", "--steps 100000") + " & p=$!; n=0; while ! grep -q step " +
                SmallRun::quoted(small.run() / "metrics.jsonl") +
                " 2> /dev/null && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done; kill -INT $p; wait $p");
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("stopped after"), std::string::npos) << result.out << result.err;
  EXPECT_FALSE(list_checkpoints(small.run() / "checkpoints").empty());
}

TEST(Validation, StopsBetweenForwardsWhenAsked) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("run", "--steps 2")).code, 0);
  const OwnedExec exec(1);
  auto loaded = load_model(small.run(), {}, exec.exec);
  data::HeldOutDocument document;
  document.raw_bytes = 400;
  for (int i = 0; i <= 400; ++i) document.tokens.push_back(i % 250);
  ValidationOptions options{32, 16, 64, nullptr};
  EXPECT_TRUE(validate_bits_per_byte(exec.exec, *loaded.transformer, {document}, options).complete);
  int asked = 0;
  options.stop = [&] { return ++asked == 3; };
  const auto result = validate_bits_per_byte(exec.exec, *loaded.transformer, {document}, options);
  EXPECT_FALSE(result.complete);
  EXPECT_EQ(asked, 3);
  EXPECT_LE(result.tokens, 3 * 64);
}

TEST(Refusals, AnotherConfigurationNamesTheKeys) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("run", "--steps 2")).code, 0);
  expect_error(run_hadal(small.train("run", "--steps 4 --set model.hidden_size=32 --set optim.lr=0.5")), 2,
               {"model.hidden_size: 24 -> 32", "optim.lr: 0.003 -> 0.5", "--fresh"});
  EXPECT_EQ(run_hadal(small.train("run", "--steps 4")).code, 0);  // more steps are fine
  EXPECT_EQ(run_hadal(small.train("run", "--steps 2 --fresh --set optim.lr=0.5")).code, 0);
}

TEST(Refusals, ASecondTrainerIsKeptOut) {
  const SmallRun small;
  fs::create_directories(small.run());
  const FileLock lock(small.run() / "lock", "run directory");
  expect_error(run_hadal(small.train()), 2, {"run directory", std::to_string(getpid())});
}

TEST(Refusals, DamagedCheckpointsAreNamed) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("run", "--steps 3")).code, 0);
  const auto checkpoint = list_checkpoints(small.run() / "checkpoints").back();
  const auto file = checkpoint / "model.safetensors";
  const auto good = read_file(file);
  fs::resize_file(file, good.size() / 2);
  expect_error(run_hadal(small.train("run", "--steps 5")), 1, {"model.safetensors", "truncated"});
  EXPECT_NE(read_file(small.run() / "log.txt").find("truncated"), std::string::npos);  // the log keeps what ended it
  std::string flipped = good;
  flipped[flipped.size() - 9] ^= 1;
  atomic_write(file, flipped);
  expect_error(run_hadal(small.train("run", "--steps 5")), 1, {"model.safetensors", "damaged"});
  expect_error(run_hadal("generate --model " + SmallRun::quoted(small.run())), 1, {"model.safetensors", "damaged"});
  fs::remove_all(checkpoint);  // what the message advises
  EXPECT_EQ(run_hadal(small.train("run", "--steps 5")).code, 0);
}

TEST(Refusals, DamagedShardsAreNamedWhereTheTextIsGone) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("run", "--steps 2")).code, 0);
  for (const auto& entry : fs::directory_iterator(small.run() / "data" / "shards")) {
    if (entry.path().extension() != ".shard") continue;
    std::string bytes = read_file(entry.path());
    bytes[bytes.size() / 2] ^= 16;
    atomic_write(entry.path(), bytes);
    fs::remove(small.text());
    expect_error(run_hadal(small.train("run", "--steps 4")), 1, {entry.path().filename().string()});
    return;
  }
  FAIL() << "no shard";
}

// The optimizer's file is read by training alone: its damage stops a resume, and no verb that reads the model.
TEST(Refusals, OnlyFilesThatAreReadCanStopAVerb) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("run", "--steps 3")).code, 0);
  const auto file = list_checkpoints(small.run() / "checkpoints").back() / "optimizer.safetensors";
  std::string bytes = read_file(file);
  bytes[bytes.size() - 9] ^= 1;
  atomic_write(file, bytes);
  const std::string generate =
      "generate --model " + SmallRun::quoted(small.run()) + " --prompt-tokens 5,6 --max-tokens 2 --seed 1 ";
  EXPECT_EQ(run_hadal(generate).code, 0);
  expect_error(run_hadal(generate + "--ema"), 1, {"optimizer.safetensors", "damaged"});
  expect_error(run_hadal(small.train("run", "--steps 5")), 1, {"optimizer.safetensors", "damaged"});
}

TEST(Refusals, TextThatIsNotThereOrNotText) {
  const SmallRun small;
  const std::string config = SmallRun::quoted(small.config()),
                    run = " --run " + SmallRun::quoted(small.run()) + " --quiet";
  const auto with = [&](const std::string& text) {
    return run_hadal("train " + config + " --text " + SmallRun::quoted(small.root() / text) + run);
  };
  expect_error(with("no such file"), 1, {"no such file"});
  atomic_write(small.root() / "empty.txt", "");
  expect_error(with("empty.txt"), 2, {});
  atomic_write(small.root() / "binary.bin", std::string("\0\1\2\3", 4) + std::string(5000, '\xff'));
  EXPECT_NE(with("binary.bin").code, 0);
  expect_error(run_hadal("train " + config + run), 2, {"--text"});
}

TEST(Refusals, ATextShorterThanOneBatchStillTrainsOrSaysWhy) {
  const SmallRun small;
  atomic_write(small.text(), small_text(60));
  const auto result = run_hadal(small.train("run", "--steps 2 --set tokenizer.vocab_size=290"));
  EXPECT_EQ(result.code, 0) << result.err;  // the next epoch begins inside the batch, and is said
  atomic_write(small.text(), small_text(60, 2));
  const auto stop = run_hadal(small.train("stop", "--steps 50 --set tokenizer.vocab_size=290 --set data.at_end=stop"));
  EXPECT_EQ(stop.code, 0) << stop.err;
}

TEST(Refusals, SizesThatCannotWork) {
  const SmallRun small;
  expect_error(run_hadal(small.train("run", "--set tokenizer.vocab_size=100")), 2, {"100"});
  expect_error(run_hadal(small.train("run", "--set model.vocab_size=280")), 2, {"280", "300"});
  expect_error(run_hadal(small.train("run", "--set data.sequence_length=100")), 2, {"sequence_length = 100", "64"});
  expect_error(run_hadal(small.train("run", "--set model.n_experts_per_token=5")), 2, {"n_experts_per_token = 5"});
  expect_error(run_hadal(small.train("run", "--set model.hidden_siz=5")), 2, {"model.hidden_size"});
  expect_error(run_hadal(small.train("big", "--set model.hidden_size=200000 --set model.dense_ffn_size=800000")), 2,
               {"memory", "available"});
  EXPECT_FALSE(fs::exists(small.run("big") / "checkpoints"));
}

TEST(Refusals, ATokenizerOfAnotherModelDoesNotPass) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("run", "--steps 1")).code, 0);
  const auto checkpoint = list_checkpoints(small.run() / "checkpoints").back();
  const auto exported = small.root() / "exported";
  fs::create_directories(exported);
  for (const char* name : {"model.safetensors", "model.json"}) fs::copy(checkpoint / name, exported / name);
  ASSERT_EQ(run_hadal("tokenizer train --input " + SmallRun::quoted(small.text()) + " --vocab-size 320 --output " +
                      SmallRun::quoted(small.root() / "tok"))
                .code,
            0);
  fs::copy(small.root() / "tok" / "tokenizer.json", exported / "tokenizer.json");
  expect_error(run_hadal("generate --model " + SmallRun::quoted(exported) + " --prompt x"), 2, {"320", "300"});
  fs::remove(exported / "tokenizer.json");  // without a tokenizer, ids still work
  EXPECT_EQ(run_hadal("generate --model " + SmallRun::quoted(exported) +
                      " --prompt-tokens 5,6 --max-tokens 2 --temperature 0")
                .code,
            0);
  expect_error(run_hadal("generate --model " + SmallRun::quoted(exported) + " --prompt x"), 1, {"tokenizer.json"});
}

TEST(Refusals, AReadOnlyRunDirectory) {
  const SmallRun small;
  const std::string files = SmallRun::quoted(small.config()) + " --quiet --text " + SmallRun::quoted(small.text());
  expect_error(run_hadal("train " + files + " --run /proc/hadal"), 1,
               {"/proc/hadal"});  // nobody may write there, not even root
  if (geteuid() == 0) return;
  fs::create_directories(small.run());
  fs::permissions(small.run(), fs::perms::owner_read | fs::perms::owner_exec);
  expect_error(run_hadal(small.train()), 1, {small.run().string()});
}

TEST(Documents, OfOneByteAreText) {
  const SmallRun small;
  atomic_write(small.text(), "x");
  atomic_write(small.root() / "more.txt", small_text(300));
  EXPECT_EQ(run_hadal(small.train("run", "--text " + SmallRun::quoted(small.root() / "more.txt") +
                                             " --steps 2 --set tokenizer.vocab_size=290"))
                .code,
            0);
}

TEST(Refusals, AFullDiskKeepsTheOldCheckpoint) {
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("run", "--steps 3")).code, 0);
  const auto before = final_hash(small.run());
  // A file-size limit plays the full disk: shards and log fit, the checkpoint does not.
  const auto result = run_hadal(small.train("run", "--steps 30"), "trap '' XFSZ; ulimit -f 60;");
  EXPECT_EQ(result.code, 1) << result.err;
  EXPECT_NE(result.err.find("hadal: error: "), std::string::npos) << result.err;
  EXPECT_EQ(final_hash(small.run()), before);
  EXPECT_EQ(run_hadal(small.train("run", "--steps 4")).code, 0);
}

TEST(Surroundings, CommaLocalesAndClosedPipesAndOneCore) {
  const SmallRun small;
  const auto result = run_hadal(small.train("run", "--steps 2"), "LC_ALL=de_DE.UTF-8 LANG=de_DE.UTF-8 taskset -c 0");
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find(" bits per byte"), std::string::npos);
  EXPECT_EQ(result.out.find(','), result.out.find(", ")) << result.out;
  const auto closed = run_hadal(
      "generate --model " + SmallRun::quoted(small.run()) + " --prompt the --max-tokens 30; echo code $? >&2; } | true",
      "{ sleep 0.1;");
  EXPECT_NE(closed.err.find("code 1"), std::string::npos) << closed.err;
}

TEST(Plan, IsDrawnWithoutTraining) {
  const SmallRun small;
  const auto result =
      run_hadal("train " + SmallRun::quoted(small.config()) + " --plan --run " + SmallRun::quoted(small.run()));
  EXPECT_EQ(result.code, 0);
  for (const char* word : {"learning rate", "batch (sequences)", "MTP weight", "bias speed"})
    EXPECT_NE(result.out.find(word), std::string::npos) << word;
  EXPECT_FALSE(fs::exists(small.run()));
}

// "activations and workspace  12.3 MiB" of `hadal train --plan`, in bytes.
double planned_activations(const SmallRun& small, const std::string& more) {
  const auto result = run_hadal("train " + SmallRun::quoted(small.config()) + " --plan " + more);
  EXPECT_EQ(result.code, 0) << result.err;
  const std::string key = "activations and workspace";
  const size_t at = result.out.find(key);
  if (at == std::string::npos) return 0;
  std::istringstream rest(result.out.substr(at + key.size()));
  double value = 0;
  std::string unit;
  rest >> value >> unit;
  for (const char* each : {"KiB", "MiB", "GiB"}) {
    value *= 1024;
    if (unit == each) return value;
  }
  return 0;
}

TEST(Plan, SaysWhatMemoryAPrecisionTakes) {
  const SmallRun small;
  const std::string wide =
      "--set model.hidden_size=256 --set model.expert_ffn_size=128 --set model.dense_ffn_size=256 "
      "--set train.micro_batch_sequences=2 ";
  const double bf16 = planned_activations(small, wide + "--set train.precision=bf16 --set train.recompute=norms");
  const double fp8 = planned_activations(small, wide + "--set train.precision=fp8");
  EXPECT_GT(bf16, 0);
  EXPECT_LT(fp8, bf16);
  EXPECT_GT(fp8, bf16 / 3);
}

}  // namespace
}  // namespace hadal
