// Law 5 with real processes: a run that is killed again and again at random milliseconds, some of them inside a
// checkpoint write, ends with the same bytes as the run that nobody touched (weights, moments, EMA, expert biases,
// counters, data cursor).
#pragma once
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

inline std::map<std::string, std::string> state_hashes(const std::filesystem::path& run) {
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
  explicit Process(std::vector<std::string> words) {  // of `hadal`
    pid_ = fork();
    if (pid_ != 0) return;
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, 1), dup2(null, 2);
    words.insert(words.begin(), "hadal");
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    execv(HADAL_BINARY_DIR "/hadal", arguments.data());
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

inline bool writing(const std::filesystem::path& run) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run / "checkpoints", error)) {
    if (entry.path().filename().string().find(".partial") != std::string::npos) return true;
  }
  return false;
}

inline void nap(double milliseconds) { usleep(useconds_t(milliseconds * 1000)); }

inline void expect_bytes_of_the_untouched_run(const std::vector<std::string>& more, int wanted_kills,
                                              int wanted_inside) {
  const SmallRun small;
  std::string options;
  for (const std::string& word : more) options += word + " ";
  ASSERT_EQ(run_hadal(small.train("untouched", options)).code, 0);
  const auto expected = state_hashes(small.run("untouched"));
  ASSERT_EQ(expected.at("name"), "step_00000060");

  RandomStream random{7, stream_id("test.kill"), 0};
  const std::filesystem::path run = small.run("killed");
  std::vector<std::string> words{"train", small.config(), "--text", small.text(), "--run", run, "--quiet"};
  words.insert(words.end(), more.begin(), more.end());
  int kills = 0, inside_a_write = 0;
  for (int attempt = 0; attempt < 400; ++attempt) {
    Process process(words);
    const bool aim_at_write = kills >= wanted_kills / 2 || inside_a_write < kills / 2;
    const double patience = steady_seconds() + 20, wait = 5 + 120 * random.uniform();
    if (kills < wanted_kills || inside_a_write < wanted_inside) {
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
    if (kills >= wanted_kills && inside_a_write >= wanted_inside) break;
    // It finished before it was killed often enough: begin again, the kills so far count.
    EXPECT_EQ(state_hashes(run), expected);
    std::filesystem::remove_all(run);
  }
  EXPECT_GE(kills, wanted_kills);
  EXPECT_GE(inside_a_write, wanted_inside);
  EXPECT_EQ(state_hashes(run), expected);
}

// Its scale begins too high: it skips steps at first, and again whenever the scale has grown.
inline std::vector<std::string> skipping_fp16() {
  return {"--steps", "60",
          "--set",   "train.precision=fp16",
          "--set",   "loss_scale.initial=16777216",
          "--set",   "loss_scale.growth_steps=4"};
}

inline std::vector<std::string> in_fp8() { return {"--steps", "60", "--set", "train.precision=fp8"}; }

}  // namespace hadal
