// Law 5 with real processes: a run that is killed 20 times at random milliseconds, at least 5 of them inside a
// checkpoint write, ends with the same bytes as the run that nobody touched (weights, moments, EMA, expert biases,
// counters, data cursor).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <map>

#include "apps/command.h"
#include "apps/small_run.h"
#include "base/clock.h"
#include "base/hash.h"
#include "checkpoint/checkpoint.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

std::map<std::string, std::string> state_hashes(const fs::path& run) {
  std::map<std::string, std::string> hashes;
  const auto found = list_checkpoints(run / "checkpoints");
  if (found.empty()) return hashes;
  verify_checkpoint(found.back());
  for (const char* name :
       {"model.safetensors", "optimizer.safetensors", "state.json", "model.json", "tokenizer.json"}) {
    hashes[name] = sha256_hex(read_file(found.back() / name));
  }
  hashes["name"] = found.back().filename().string();
  return hashes;
}

class Process {
 public:
  Process(const SmallRun& small, const std::string& name, const std::string& steps) {
    pid_ = fork();
    if (pid_ != 0) return;
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, 1), dup2(null, 2);
    const std::string config = small.config(), text = small.text(), run = small.run(name);
    execl(HADAL_BINARY_DIR "/hadal", "hadal", "train", config.c_str(), "--text", text.c_str(), "--run", run.c_str(),
          "--quiet", "--steps", steps.c_str(), nullptr);
    _exit(127);
  }
  bool ended() {
    if (!done_ && waitpid(pid_, &status_, WNOHANG) == pid_) done_ = true;
    return done_;
  }
  void kill_now() {
    if (ended()) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, &status_, 0);
    done_ = true;
  }
  bool clean() const { return WIFEXITED(status_) && WEXITSTATUS(status_) == 0; }

 private:
  pid_t pid_;
  int status_ = 0;
  bool done_ = false;
};

bool writing(const fs::path& run) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", error)) {
    if (entry.path().filename().string().find(".partial") != std::string::npos) return true;
  }
  return false;
}

void nap(double milliseconds) { usleep(useconds_t(milliseconds * 1000)); }

TEST(KilledRun, EndsWithTheBytesOfTheUntouchedOne) {
  const SmallRun small;
  const std::string steps = "60";
  ASSERT_EQ(run_hadal(small.train("untouched", "--steps " + steps)).code, 0);
  const auto expected = state_hashes(small.run("untouched"));
  ASSERT_EQ(expected.at("name"), "step_00000060");

  RandomStream random{7, stream_id("test.kill"), 0};
  const fs::path run = small.run("killed");
  int kills = 0, inside_a_write = 0;
  for (int attempt = 0; attempt < 400; ++attempt) {
    Process process(small, "killed", steps);
    const bool aim_at_write = kills >= 10 || inside_a_write < kills / 2;
    const double patience = steady_seconds() + 20, wait = 5 + 120 * random.uniform();
    if (kills < 20 || inside_a_write < 5) {
      if (aim_at_write) {
        const double at = steady_seconds() + wait / 2000;
        while (!process.ended() && steady_seconds() < patience && (steady_seconds() < at || !writing(run))) nap(0.2);
      } else {
        nap(wait);
      }
      if (!process.ended()) {
        inside_a_write += writing(run);
        process.kill_now();
        ++kills;
        continue;
      }
    }
    while (!process.ended()) nap(5);
    ASSERT_TRUE(process.clean());
    if (kills >= 20 && inside_a_write >= 5) break;
    // It finished before it was killed often enough: begin again, the kills so far count.
    EXPECT_EQ(state_hashes(run), expected);
    fs::remove_all(run);
  }
  EXPECT_GE(kills, 20);
  EXPECT_GE(inside_a_write, 5);
  EXPECT_EQ(state_hashes(run), expected);
  RecordProperty("kills", kills);
  RecordProperty("inside_a_write", inside_a_write);
}

TEST(KilledRun, AnotherRunHasOtherBytes) {  // the comparison above can fail
  const SmallRun small;
  ASSERT_EQ(run_hadal(small.train("a", "--steps 3")).code, 0);
  ASSERT_EQ(run_hadal(small.train("b", "--steps 3 --set train.seed=2")).code, 0);
  const auto a = state_hashes(small.run("a")), b = state_hashes(small.run("b"));
  EXPECT_NE(a.at("model.safetensors"), b.at("model.safetensors"));
  EXPECT_EQ(a.at("tokenizer.json"), b.at("tokenizer.json"));
}

}  // namespace
}  // namespace hadal
