// hadal --transport mpi where mpirun fails, is killed or is not there, or the program was built without MPI: the line
// that was run, and what to try. No MPI is needed: mpirun is a script, and the module an empty file.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/testing.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

using testing::has;

class MpiStart : public ::testing::Test {
 protected:
  // As a build makes them, in a folder of their own.
  void SetUp() override {
    fs::create_directory(dir_ / "build");
    fs::copy(HADAL_BINARY_DIR "/hadal", binary());
    atomic_write(module(), "");
  }
  // An mpirun that writes the words it was given, one a line, and then does this.
  void make_mpirun(const std::string& then) const {
    atomic_write(dir_ / "mpirun", "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"" + words() + "\"\n" + then + "\n");
    fs::permissions(dir_ / "mpirun", fs::perms::owner_all);
  }
  std::string path() const { return "PATH='" + dir_.path() + "':$PATH"; }
  CommandResult train() const {
    return run_hadal(small_.train("run", "--ranks 2 --transport mpi --trace \"it's\""), path(), binary());
  }
  std::string binary() const { return dir_ / "build/hadal"; }
  std::string module() const { return dir_ / "build/hadal_mpi.so"; }
  std::string words() const { return dir_ / "words"; }

  testing::TempDir dir_;
  SmallRun small_;
};

TEST_F(MpiStart, OfAFailureTheLineIsSaidAsAShellTakesIt) {
  make_mpirun("echo 'There are not enough slots' >&2; exit 7");
  const auto failed = train();
  EXPECT_EQ(failed.code, 7);
  const std::string before = "There are not enough slots\nhadal: note: mpirun ended with exit code 7; it was run as: ";
  ASSERT_TRUE(failed.err.starts_with(before + "mpirun -n 2 --oversubscribe")) << failed.err << "with --quiet";
  EXPECT_TRUE(has(failed.err,
                  "\nhadal: note: if nothing above says why, run that line by hand; where it starts no "
                  "process, leave --transport out: ranks are threads then\n"))
      << failed.err;
  const std::string line = failed.err.substr(before.size(), failed.err.find('\n', before.size()) - before.size());
  const std::string given = read_file(words());
  EXPECT_TRUE(has(given, "\n" + small_.run().string() + "\n") && has(given, "\nit's\n")) << given;
  fs::remove(words());
  EXPECT_EQ(run_hadal("> /dev/null; " + path() + "; " + line, "").code, 7);
  EXPECT_EQ(read_file(words()), given);
}

TEST_F(MpiStart, OfAnMpirunThatIsKilledTheSignalIsNamed) {
  make_mpirun("kill -9 $$");
  const auto killed = train();
  EXPECT_EQ(killed.code, 128 + 9);
  EXPECT_TRUE(has(killed.err, "mpirun was ended by signal 9; it was run as: mpirun -n 2 ")) << killed.err;
}

TEST_F(MpiStart, OfSuccessNothingIsSaidQuietly) {
  make_mpirun("exit 0");
  const auto fine = train();
  EXPECT_EQ(fine.code, 0);
  EXPECT_EQ(fine.err, "");
}

TEST_F(MpiStart, WithoutMpirunTheLineThatWouldHaveRunIsSaid) {
  const auto missing = run_hadal(small_.train("run", "--ranks 2 --transport mpi"), "PATH='" + dir_.path() + "'",
                                 binary());  // nothing is there
  EXPECT_EQ(missing.code, 1);
  EXPECT_TRUE(
      missing.err.starts_with("hadal: error: mpirun cannot be started (No such file or directory): install "
                              "openmpi-bin (./setup --tests), or leave --transport out: "))
      << missing.err;
  EXPECT_TRUE(has(missing.err, "the line would have been: mpirun -n 2 --oversubscribe ")) << missing.err;
  EXPECT_EQ(std::count(missing.err.begin(), missing.err.end(), '\n'), 1) << missing.err;
}

// A build without MPI's headers makes no module: one line says so, before a process is started or anything made.
TEST_F(MpiStart, OfABuildWithoutMpiItIsSaidWhatToInstall) {
  fs::remove(module());
  make_mpirun("exit 0");
  const std::string launched = "OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0 ";  // by an mpirun that is there
  for (const auto& [before, more] : {std::pair{path(), "--ranks 2 --transport mpi"}, {launched, ""}}) {
    const auto refused = run_hadal(small_.train("run", more), before, binary());
    EXPECT_EQ(refused.code, 1);
    EXPECT_EQ(refused.err, "hadal: error: this program was built without MPI (" + module() +
                               " is not there): install openmpi-bin and libopenmpi-dev (./setup --tests) and build "
                               "again, or use ranks as threads: --ranks N\n");
    EXPECT_FALSE(fs::exists(words())) << "mpirun was started";
    EXPECT_FALSE(fs::exists(small_.run()));
  }
  EXPECT_EQ(run_hadal(small_.train("run", "--ranks 2 --steps 1"), "", binary()).code, 0) << "threads need none";
}

TEST_F(MpiStart, AModuleThatIsNoneIsNamed) {
  const auto refused = run_hadal(small_.train("run"), "OMPI_COMM_WORLD_SIZE=1", binary());
  EXPECT_EQ(refused.code, 1);
  EXPECT_TRUE(refused.err.starts_with("hadal: error: MPI cannot be opened: " + module() + ": file too short"))
      << refused.err;
  EXPECT_TRUE(has(refused.err, "use ranks as threads: --ranks N")) << refused.err;
}

}  // namespace
}  // namespace hadal
