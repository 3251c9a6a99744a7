// Training runs as processes under mpirun, for tests that do something to one of them.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "apps/command.h"
#include "apps/small_run.h"
#include "checkpoint/checkpoint.h"

namespace hadal {

class MpiRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(HADAL_BINARY_DIR "/hadal_mpi.so") ||
        std::system((mpirun(1) + " true > /dev/null 2> /dev/null").c_str()) != 0)
      GTEST_SKIP() << "mpirun starts nothing here (./setup --tests installs it)";
  }
  static bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

  static std::string mpirun(int n) {
    return fmt::format("mpirun -n {} --oversubscribe --bind-to none --mca btl_vader_single_copy_mechanism none {}", n,
                       geteuid() == 0 ? "--allow-run-as-root" : "");
  }
  // Shell text that runs `command` in the background as $JOB and waits until the run has made some steps, and with
  // them a checkpoint.
  std::string in_background(const std::string& command, const std::string& run) const {
    return "timeout 120 " + command + " & JOB=$!; for i in $(seq 1200); do " + "grep -q '\"step\",\"step\":3' " +
           SmallRun::quoted(small.run(run) / "metrics.jsonl") + " 2> /dev/null && break; sleep 0.05; done; ";
  }
  std::string started(int n, const std::string& run, const std::string& more) const {
    return in_background(mpirun(n) + " $HADAL " + small.train(run, more), run);
  }
  // Shell text for the process of a rank, which its log names.
  std::string process_of(const std::string& run, int rank) const {
    return fmt::format("$(sed -n 's/.*started as.* process \\([0-9]*\\),.*/\\1/p' {} | tail -n 1)",
                       SmallRun::quoted(small.run(run) / "logs" / fmt::format("rank_{:04d}.log", rank)));
  }
  // Shell text that lists the processes of a run.
  std::string processes_of(const std::string& run) const {
    return "for p in /proc/[0-9]*; do grep -qx hadal $p/comm 2> /dev/null && grep -q " +
           SmallRun::quoted(small.run(run)) + " $p/cmdline 2> /dev/null && echo ${p#/proc/}; done | sort -n";
  }
  // Runs shell text, and the code of the job behind it; afterwards no process may be left.
  CommandResult ended(const std::string& run, const std::string& shell) const {
    CommandResult result = run_hadal("version > /dev/null", shell + " wait $JOB; echo rc $?; ");
    EXPECT_EQ(run_hadal("version > /dev/null", processes_of(run) + ";").out, "") << "a process is left";
    return result;
  }
  int64_t last_step(const std::string& run) const {
    const auto found = list_checkpoints(small.run(run) / "checkpoints");
    return found.empty() ? 0 : std::stoll(found.back().filename().string().substr(5));
  }

  SmallRun small;
};

}  // namespace hadal
