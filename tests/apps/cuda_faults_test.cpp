// What can be wrong with a device, or befall a program that uses it, as a user meets it: one sentence with what would
// be right, the exit code, a last checkpoint that is whole, and no fall to the CPU.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "apps/cuda_walk.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

class CudaFaults : public CudaVerbs {
 protected:
  void refused(const CommandResult& result, int code, const std::string& why) const {
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_NE(result.err.find("hadal: error: "), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(why), std::string::npos) << why << "\n" << result.err;
    EXPECT_EQ(result.out.find("done: "), std::string::npos) << result.out;
  }
  // Saves after every step; blocks go back to the device at every validation.
  std::string long_run(const std::string& options = "") const {
    return train("run", "--device cuda:0 --steps 8 --set checkpoint.every_steps=1 --set validation.every_steps=1" +
                            std::string(kFp32) + " " + options);
  }
  // The run that was ended goes on where it was saved, with the bits of one that nothing befell.
  void expect_goes_on(int64_t least) const {
    const auto left = list_checkpoints(small.run() / "checkpoints");
    ASSERT_FALSE(left.empty());
    verify_checkpoint(left.back());
    EXPECT_GE(std::stoll(left.back().filename().string().substr(5)), least);
    const auto on = run_emulated(long_run());
    EXPECT_EQ(on.code, 0) << on.err;
    EXPECT_NE(on.out.find("resumed at"), std::string::npos) << on.out;
    const auto whole = run_emulated(train("whole", "--device cuda:0 --steps 8" + std::string(kFp32)));
    EXPECT_EQ(whole.code, 0) << whole.err;
    EXPECT_TRUE(state("run", "00000008") == state("whole", "00000008"));
  }
};

TEST_F(CudaFaults, AMachineWithoutADeviceIsNamed) {
  const std::string verb = train("run", "--device cuda:0");
  refused(run_emulated(verb, "driver=0"), 1,
          "there is no NVIDIA driver on this machine; CUDA 13 needs NVIDIA's driver");
  refused(run_emulated(verb, "driver=12080"), 1, "is too old: it offers CUDA 12.8; CUDA 13 needs NVIDIA's driver 580");
  refused(run_emulated(verb, "cards=none"), 1, "the NVIDIA driver sees no card on this machine");
  refused(run_emulated(verb, "cards=8.0"), 1,
          "is of compute capability 8.0; the kernels are compiled for 9.0 (H100, H200) and run on no other");
  EXPECT_FALSE(std::filesystem::exists(small.run()));
}

TEST_F(CudaFaults, VersionNamesEveryCardAndWhyThereIsNone) {
  const auto listed = run_emulated("version", "cards=8.0,9.0");
  EXPECT_NE(listed.out.find("cuda:0     cannot be used: cuda:0 (the emulated device) is of compute capability 8.0"),
            std::string::npos)
      << listed.out;
  EXPECT_NE(listed.out.find("cuda:1     the emulated device, driver 13.0, "), std::string::npos) << listed.out;
  const auto json = parse_json(run_emulated("version --json", "cards=8.0,9.0").out, "version");
  ASSERT_EQ(json["devices"].size(), 1u);
  EXPECT_EQ(json["devices"][0]["device"], "cuda:1");
  EXPECT_EQ(json["unusable_devices"][0]["device"], "cuda:0");
  EXPECT_EQ(json.count("no_device"), 0u);
  const auto none = parse_json(run_emulated("version --json", "driver=0").out, "version");
  EXPECT_EQ(none["devices"].size(), 0u);
  EXPECT_NE(none["no_device"].get<std::string>().find("there is no NVIDIA driver"), std::string::npos);
}

TEST_F(CudaFaults, MemoryThatDoesNotSufficeIsSaidWithWhatNeedsWhat) {
  const std::string verb = small.train("run", "--device cuda:0" + std::string(kFp32));
  std::string loud = verb;
  loud.erase(loud.find(" --quiet"), 8);
  const auto narrow = run_emulated(loud, "memory=200000");
  refused(narrow, 2, "this run needs about ");
  EXPECT_NE(narrow.err.find("are available on cuda:0"), std::string::npos) << narrow.err;
  const std::string told = narrow.out + narrow.err;
  for (const char* part : {"weights and masters ", "gradients ", "moments and EMA ", "activations and workspace "})
    EXPECT_NE(told.find(std::string("\n") + part), std::string::npos) << part << told;
  EXPECT_EQ(told.find("\ncheckpoint copy "), std::string::npos) << "the host's";
}

TEST_F(CudaFaults, AnInterruptInMidStepEndsItWithACheckpoint) {
  const auto stopped = run_emulated(long_run(), "at=100 interrupt");
  EXPECT_EQ(stopped.code, 0) << stopped.err;
  EXPECT_NE(stopped.out.find("stopped after "), std::string::npos) << stopped.out;
  expect_goes_on(1);
}

TEST_F(CudaFaults, MemoryThatAnotherProgramTakesInMidRunEndsItWithASentence) {
  refused(run_emulated(long_run(), "at=150 taken"), 1, "out of memory: ");
  expect_goes_on(1);
}

TEST_F(CudaFaults, AModelFileThatIsCutOffWhileItLoadsIsNamed) {
  ASSERT_EQ(run_hadal(train("run", "--steps 2" + std::string(kFp32))).code, 0);
  const auto file = small.run() / "checkpoints" / "step_00000002" / "model.safetensors";
  const auto result = run_emulated("generate --model " + q(small.run()) + " --device cuda:0 --prompt 'the sea' --quiet",
                                   "cut=3 " + file.string());
  refused(result, 1, "model.safetensors");
}

}  // namespace
}  // namespace hadal
