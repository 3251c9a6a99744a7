// The walk on a device, emulated: the binary with an emulated device in the place of a GPU trains, stops, resumes,
// scores, generates and traces with --device cuda:0. In FP32 everything has the bits of a CPU with AVX2.
#include <gtest/gtest.h>

#include "apps/cuda_walk.h"
#include "apps/run_metrics.h"
#include "base/isa.h"
#include "base/json.h"

namespace hadal {
namespace {

// Stopped and resumed on the device, and handed from the device to the CPU and back: one run, one set of bits.
TEST_F(CudaVerbs, TrainAndResumeWithTheBitsOfAvx2) {
  if (!isa_available(Isa::avx2)) GTEST_SKIP() << "no AVX2";
  const auto cpu = run_hadal(train("cpu", std::string("--isa avx2") + kFp32));
  ASSERT_EQ(cpu.code, 0) << cpu.err;
  const auto first = run_emulated(train("device", std::string("--device cuda:0 --stop-after 7") + kFp32));
  ASSERT_EQ(first.code, 0) << first.err;
  const std::string run = "train " + q(small.root() / "device") + " --quiet ";
  const auto second = run_hadal(run + "--isa avx2 --stop-after 13");
  ASSERT_EQ(second.code, 0) << second.err;
  const auto third = run_emulated(run + "--device cuda:0");
  ASSERT_EQ(third.code, 0) << third.err;
  EXPECT_TRUE(state("device") == state("cpu"));

  const std::string of = " --model " + q(small.root() / "device") + " --quiet ";
  const fs::path lines = small.root() / "lines.jsonl";
  atomic_write(lines, "{\"text\": \"the sea is deep and cold\"}\n{\"tokens\": [1, 50, 60]}\n");
  for (const std::string& verb :
       {"generate --prompt 'the sea' --max-tokens 8 --seed 3" + of, "score --input " + q(lines) + " --stride 8" + of}) {
    const auto there = run_emulated(verb + "--device cuda:0"), here = run_hadal(verb + "--isa avx2");
    ASSERT_EQ(there.code, 0) << there.err;
    EXPECT_EQ(there.out, here.out);
    EXPECT_FALSE(there.out.empty());
  }
  const auto narrow = run_emulated("score --input " + q(lines) + of + "--device cuda:0 --memory 1KiB");
  EXPECT_EQ(narrow.code, 2);
  EXPECT_NE(narrow.err.find("must be converted or stacked in memory of cuda:0, 1.00 KiB are available"),
            std::string::npos)
      << narrow.err;
  const std::string trace = "trace --tokens 5,17,3,9,70" + of;
  const fs::path file = small.root() / "trace.safetensors", other = small.root() / "there.safetensors";
  ASSERT_EQ(run_hadal(trace + "--isa avx2 --output " + q(file)).code, 0);
  const auto traced = run_emulated(trace + "--device cuda:0 --output " + q(other));
  ASSERT_EQ(traced.code, 0) << traced.err;
  EXPECT_TRUE(read_file(file) == read_file(other));
}

TEST_F(CudaVerbs, AutomaticPrecisionIsBf16AndStaysNearTheCpu) {
  const auto there = run_emulated(train("device", "--device cuda:0 --set train.precision=auto"));
  ASSERT_EQ(there.code, 0) << there.err;
  const auto here = run_hadal(train("cpu", "--set train.precision=bf16"));
  ASSERT_EQ(here.code, 0) << here.err;
  const auto of = [&](const std::string& run) { return read_file(small.root() / run / "config.toml"); };
  EXPECT_NE(of("device").find("precision = \"bf16\""), std::string::npos);
  const auto ours = steps_of(small.root() / "device"), theirs = steps_of(small.root() / "cpu");
  ASSERT_EQ(ours.size(), 20u);
  for (size_t i = 0; i < 20; ++i)  // roundings send some tokens to other experts, after a few steps
    EXPECT_NEAR(double(ours[i]["loss"]) / double(theirs[i]["loss"]), 1, i < 6 ? 5e-3 : 2e-2) << "step " << i + 1;
}

// Pieces are timed where they run: behind each the device is waited for, and the trace says so.
TEST_F(CudaVerbs, TracesStepsByTheTimesOfTheDevice) {
  const fs::path there = small.root() / "there.json", here = small.root() / "here.json";
  ASSERT_EQ(run_emulated(train("device", "--device cuda:0 --steps 1 --trace " + q(there))).code, 0);
  ASSERT_EQ(run_hadal(train("cpu", "--steps 1 --trace " + q(here))).code, 0);
  const auto device = parse_json(read_file(there), "trace"), cpu = parse_json(read_file(here), "trace");
  EXPECT_EQ(device["otherData"]["times"], "of cuda:0, which the host waited for behind each piece");
  EXPECT_EQ(cpu.count("otherData"), 0u);
  EXPECT_EQ(device["traceEvents"].size(), cpu["traceEvents"].size());
}

// Card, driver, and the estimate against what is free.
TEST_F(CudaVerbs, TrainSaysWhatItRunsOnAndWhatItTakes) {
  std::string loud = train("run", "--device cuda:0 --memory 1GiB --steps 1" + std::string(kFp32));
  for (size_t at; (at = loud.find("--quiet")) != loud.npos;) loud.erase(at, 7);
  const auto result = run_emulated(loud);
  ASSERT_EQ(result.code, 0) << result.err;
  const std::string told = result.out + result.err;
  EXPECT_NE(told.find("device cuda:0 (the emulated device, driver 13.0) beside CPU ("), std::string::npos) << told;
  EXPECT_NE(told.find("precision fp32"), std::string::npos) << told;
  EXPECT_NE(told.find(" available on cuda:0; micro-batches of 1 sequences"), std::string::npos) << told;
  EXPECT_NE(told.find("memory: about 2."), std::string::npos) << told;  // MiB of the device's alone
  EXPECT_NE(told.find(" of 1.00 GiB available on cuda:0"), std::string::npos) << told;
}

TEST_F(CudaVerbs, NameWhatCannotBe) {
  const auto refused = [&](const CommandResult& result, int code, const std::string& why) {
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << why << "\n" << result.err;
  };
  refused(run_hadal(train("run", "--device cuda:0")), 1,
          "--device cuda:0: this hadal was built without CUDA; build it");
  refused(run_emulated(train("run", "--device cuda:7")), 1, "there is no device cuda:7: this machine has cuda:0 alone");
  refused(run_emulated(train("run", "--device gpu")), 2, "device \"gpu\" is not known; there are cpu and cuda:0");
  refused(run_emulated(train("run", "--device cuda:0 --isa avx2")), 2,
          "--isa avx2 chooses kernels of the CPU; with --device cuda:0 these are CUDA's");
  refused(run_emulated(train("run", "--memory 1GiB")), 2, "--memory 1GiB limits the memory of a device");
  refused(run_emulated(train("run", "--device cuda:0 --memory much")), 2,
          "--memory is \"much\"; a number of bytes is written like 40GiB");
  refused(run_emulated(train("run", "--device cuda:0 --ranks 2")), 1, "2 ranks on cuda:0: so far several ranks run on");
  refused(
      run_emulated(train("run", "--device cuda:0 --set train.precision=fp64")), 2,
      "precision fp64 is that of the reference formulas and runs on the CPU alone; cuda:0 computes in fp32 and bf16");
  refused(run_emulated(train("run", "--device cuda:0 --memory 1MiB")), 2, "1.00 MiB are available on cuda:0");
}

TEST_F(CudaVerbs, VersionListsDevices) {
  const auto there = run_emulated("version"), here = run_hadal("version");
  EXPECT_NE(there.out.find("cuda:0     the emulated device, driver 13.0, "), std::string::npos) << there.out;
  EXPECT_NE(here.out.find("cuda       none: this hadal was built without CUDA"), std::string::npos) << here.out;
  EXPECT_NE(run_emulated("version --json").out.find("\"device\": \"cuda:0\""), std::string::npos);
}

}  // namespace
}  // namespace hadal
