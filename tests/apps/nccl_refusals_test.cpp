// hadal --transport nccl where something of it is missing: one sentence that says what would be right, before anything
// is made or started.
#include <gtest/gtest.h>

#include <algorithm>

#include "apps/nccl_testing.h"
#include "apps/small_run.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class NcclRefusals : public ::testing::Test {
 protected:
  void is_refused(const CommandResult& result, const std::string& sentence) const {
    EXPECT_EQ(result.code, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_TRUE(result.err.starts_with("hadal: error: " + sentence)) << result.err;
    EXPECT_FALSE(fs::exists(small_.run()));
  }
  CommandResult train(const NcclBinary& binary, const std::string& environment = "",
                      const std::string& libraries = "") const {
    return binary.run(small_.train("run", "--ranks 3 --transport nccl"), environment, libraries);
  }
  SmallRun small_;
};

TEST_F(NcclRefusals, ABuildWithoutItNamesTheModuleThatIsMissing) {
  const NcclBinary without(false);
  const std::string sentence = "this program was built without NCCL (";
  is_refused(train(without), sentence);
  EXPECT_TRUE(testing::has(train(without).err,
                           "/hadal_nccl.so is not there): bring its header with ./setup --nccl and build again; "
                           "--transport mpi needs none\n"))
      << train(without).err;
  is_refused(without.run("check layouts " + SmallRun::quoted(small_.config()) + " --transport nccl"), sentence);
  is_refused(without.run("data build " + SmallRun::quoted(small_.config()) + " --text " +
                         SmallRun::quoted(small_.text()) + " --ranks 2 --transport=nccl"),
             sentence);
}

TEST_F(NcclRefusals, LibrariesThatCannotBeOpenedAreNamed) {
  const NcclBinary binary;
  const testing::TempDir broken;
  for (const char* library : {"libcuda.so.1", "libnccl.so.2"}) {
    atomic_write(broken / library, "no library");
    const std::string sentence = std::string(library) == "libcuda.so.1"
                                     ? "--transport nccl: NVIDIA's driver cannot be opened (" + broken.path()
                                     : "--transport nccl: NCCL cannot be opened (" + broken.path();
    is_refused(train(binary, "", broken.path()), sentence);
    fs::remove(broken / library);
  }
}

TEST_F(NcclRefusals, ADriverWithoutACardSaysSo) {
  is_refused(
      train(NcclBinary(), "HADAL_STAND_IN_CUDA_ERROR=100"),
      "--transport nccl: cuInit: no CUDA-capable device is detected (CUDA error 100); --transport mpi needs none "
      "of it\n");
  is_refused(train(NcclBinary(), "HADAL_STAND_IN_CARDS=0"),
             "--transport nccl: 3 ranks need a card each, and this machine has 0; start them where there are cards, or "
             "give --transport mpi\n");
}

TEST_F(NcclRefusals, MoreRanksThanCardsAreCounted) {
  is_refused(train(NcclBinary(), "HADAL_STAND_IN_CARDS=2"),
             "--transport nccl: 3 ranks need a card each, and this machine has 2; start 2, or give --transport mpi\n");
}

TEST_F(NcclRefusals, WithCardsItIsStartedUnderMpirunByThatName) {
  const testing::TempDir dir;
  atomic_write(dir / "mpirun", "#!/bin/sh\nprintf '%s ' \"$@\"\n");
  fs::permissions(dir / "mpirun", fs::perms::owner_all);
  const CommandResult started = train(NcclBinary(), "PATH='" + dir.path() + "':$PATH");
  EXPECT_EQ(started.code, 0) << started.err;
  EXPECT_TRUE(testing::has(started.out, "-n 3 ") && testing::has(started.out, " --ranks 3 --transport nccl "))
      << started.out;
}

}  // namespace
}  // namespace hadal
