// What goes wrong on a device in the middle of a run: it ends with a sentence, and its last checkpoint is whole.
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/expect_error.h"
#include "base/files.h"
#include "checkpoint/checkpoint.h"
#include "cuda_staged/device_rig.h"
#include "train/small_step.h"
#include "train/trainer.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using namespace hadal::testing;

// A driver whose next calls fail.
DeviceDriver failing = {};
bool no_memory = false, fails = false;

const DeviceDriver& failing_driver() {
  failing = *kernels::cuda_backend()->driver;
  failing.allocate = [](int64_t bytes) {
    check(!no_memory, ErrorKind::out_of_memory, "device memory: none");
    return kernels::cuda_backend()->driver->allocate(bytes);
  };
  failing.wait_for_stream = [](DeviceStream stream) {
    kernels::cuda_backend()->driver->wait_for_stream(stream);
    check(!fails, ErrorKind::internal, "work of a stream: an illegal memory access was encountered");
  };
  no_memory = fails = false;
  return failing;
}

class CudaRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!staged::runs_whole_steps()) GTEST_SKIP() << "no device, or one that is too slow here";
    std::string folder = (fs::temp_directory_path() / "hadal-cuda-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    root = folder;
    std::string text;
    for (int i = 0; i < 400; ++i) text += i % 7 ? "the sea is deep " : "and cold.\n";
    atomic_write(root / "text.txt", text);
    request.config = small_config(Precision::fp32);
    Config& config = request.config;
    config.model.vocab_size = 0, config.tokenizer.vocab_size = 280;
    config.data.sources.resize(1), config.data.sources[0].paths = {(root / "text.txt").string()};
    config.data.sequence_length = 12, config.data.holdout = Holdout::tail;
    config.train.steps = 6, config.train.batch_sequences = 2;
    config.checkpoint.every_steps = 1, config.validation.every_steps = 0;
    config.run = (root / "run").string();
    request.quiet = true;
  }
  void TearDown() override { fs::remove_all(root); }

  // Trains until `fault` is set behind step 3; then on, without it.
  void expect_end(bool& fault, ErrorKind kind, const char* words) {
    {
      const auto device = std::make_shared<OpenDevice>(Device{DeviceKind::cuda, 0}, failing_driver());
      const OwnedExec owned(1, device, *kernels::cuda_backend()->kernels);
      request.hooks.on_step = [&](const StepResult& result) {
        fault = result.step == 3;
        owned.exec.memory->trim();
      };
      EXPECT_ERROR(train(request, owned.exec), kind, words);
      fault = false;
    }
    const auto left = list_checkpoints(fs::path(request.config.run) / "checkpoints");
    ASSERT_FALSE(left.empty());
    verify_checkpoint(left.back());
    request.hooks.on_step = {};
    const staged::DeviceRig again(1);
    const TrainOutcome outcome = train(request, again.exec);
    EXPECT_GE(outcome.resumed_from, 2);
    EXPECT_EQ(outcome.steps, 6);
  }

  fs::path root;
  TrainRequest request;
};

TEST_F(CudaRun, ThatRunsOutOfMemoryEndsWithASentenceAndGoesOn) {
  expect_end(no_memory, ErrorKind::out_of_memory, "out of memory: ");
}

TEST_F(CudaRun, WhoseDeviceFailsEndsWithASentenceAndGoesOn) {
  expect_end(fails, ErrorKind::internal, "work of a stream: an illegal memory access was encountered");
}

}  // namespace
}  // namespace hadal
