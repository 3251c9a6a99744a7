// hadal --transport mpi where mpirun fails, is killed or is not there: the line that was run, and what to try. No MPI
// is needed: mpirun is a script.
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
  // An mpirun that writes the words it was given, one a line, and then does this.
  void make_mpirun(const std::string& then) const {
    atomic_write(dir_ / "mpirun", "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"" + words() + "\"\n" + then + "\n");
    fs::permissions(dir_ / "mpirun", fs::perms::owner_all);
  }
  std::string path() const { return "PATH='" + dir_.path() + "':$PATH"; }
  CommandResult train() const {
    return run_hadal(small_.train("run", "--ranks 2 --transport mpi --trace \"it's\""), path());
  }
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
  const auto missing =
      run_hadal(small_.train("run", "--ranks 2 --transport mpi"), "PATH='" + dir_.path() + "'");  // nothing is there
  EXPECT_EQ(missing.code, 1);
  EXPECT_TRUE(
      missing.err.starts_with("hadal: error: mpirun cannot be started (No such file or directory): install "
                              "openmpi-bin (./setup --tests), or leave --transport out: "))
      << missing.err;
  EXPECT_TRUE(has(missing.err, "the line would have been: mpirun -n 2 --oversubscribe ")) << missing.err;
  EXPECT_EQ(std::count(missing.err.begin(), missing.err.end(), '\n'), 1) << missing.err;
}

}  // namespace
}  // namespace hadal
