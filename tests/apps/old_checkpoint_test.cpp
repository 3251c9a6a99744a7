// A run as this program wrote it before it knew ranks goes on in any layout. It lies, as commit d945f00 left it after 3
// of 8 steps, in tests/files/checkpoint/version_1_run.tar.gz: hashes are SHA-256, nothing is said of layouts or phases.
// A model of 7,000 parameters with experts, MTP, latent queries and a moving average, in FP32, of a text that is gone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "apps/command.h"
#include "apps/last_checkpoint.h"
#include "apps/run_metrics.h"
#include "base/testing.h"
#include "storage/tensor_files.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class OldCheckpoint : public ::testing::Test {
 protected:
  // The fourth of six steps, by a copy of the run in this layout; returns where.
  fs::path next_step(const std::string& layout, const std::string& more = "") const {
    const fs::path run = dir_ / layout;
    fs::create_directory(run);
    const std::string unpack = fmt::format(
        "tar -xzf '" HADAL_SOURCE_DIR "/tests/files/checkpoint/version_1_run.tar.gz' --strip-components 1 -C '{}' && ",
        run.string());
    const auto on = run_hadal(
        fmt::format("train '{}' --quiet --steps 6 --stop-after 4 --layout {} {}", run.string(), layout, more), unpack);
    EXPECT_EQ(on.code, 0) << layout << ": " << on.err;
    return run;
  }
  static TensorFiles tensors_of(const fs::path& run, int64_t step, const char* stem = kModelStem) {
    return TensorFiles::open(checkpoint_path(run / "checkpoints", step), stem);
  }
  // The largest relative distance of a tensor between two files, but of small ones as if they were of this size.
  static double furthest(const TensorFiles& a, const TensorFiles& b, double least) {
    double most = 0;
    EXPECT_EQ(a.names(), b.names());
    for (const std::string& name : a.names()) {
      const Tensor x = a.tensor(name), y = b.tensor(name);
      double size = 0, difference = 0;
      for (int64_t i = 0; i < x.count(); ++i) {
        const double u = element(x, i), v = element(y, i);
        size += u * u, difference += (u - v) * (u - v);
      }
      if (difference > 0) most = std::max(most, std::sqrt(difference / std::max(size, least * least)));
    }
    return most;
  }

  testing::TempDir dir_;
};

TEST_F(OldCheckpoint, GoesOnInAnyLayoutWithTheStepOfOneRank) {
  const fs::path one = next_step("dp=1");
  // What the program of then made of the fourth step, as far as its own last bits are those of this machine.
  const auto step = steps_of(one).at(0);
  EXPECT_NEAR(step["loss"].get<double>(), 5.698420532047749, 1e-6);
  EXPECT_NEAR(step["grad_norm"].get<double>(), 1.2982501667162023, 1e-5);
  EXPECT_EQ(step["tokens"], 256);
  EXPECT_GT(furthest(tensors_of(one, 3), tensors_of(one, 4), 0), 1e-3) << "the step moves more than what is allowed";
  for (const char* layout : {"dp=3", "pp=2", "tp=2", "cp=2", "dp=2,ep=2", "pp=2,schedule=dualpipe",
                             "dp=2,tp=2,pp=2,ep=4", "dp=2,cp=2,ep=4"}) {
    const fs::path many = next_step(layout);
    EXPECT_LE(furthest(tensors_of(one, 4), tensors_of(many, 4), 0), 1e-6) << layout;
    EXPECT_LE(furthest(tensors_of(one, 4, kOptimizerStem), tensors_of(many, 4, kOptimizerStem), 1e-4), 1e-5) << layout;
    EXPECT_NEAR(steps_of(many).at(0)["loss"].get<double>(), step["loss"].get<double>(), 1e-6) << layout;
  }
}

// Where one micro-batch makes a step the sums have one order: then nothing may differ, not a byte of a file. A pipeline
// has the embedding's gradient from two ranks, since the MTP module reads it too: that is another order.
TEST_F(OldCheckpoint, HasTheBitsOfOneRankWhereTheOrderOfSumsIsOne) {
  const std::string narrow = "--change train.batch_sequences=1";
  const auto wanted = last_checkpoint(next_step("dp=1", narrow));
  ASSERT_GT(wanted.size(), 5u);
  for (const char* layout : {"dp=2", "dp=3", "dp=2,ep=2", "dp=4,ep=4"})
    EXPECT_EQ(last_checkpoint(next_step(layout, narrow)), wanted) << layout;
}

}  // namespace
}  // namespace hadal
