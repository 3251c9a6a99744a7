#include "apps/mpi_start.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "base/error.h"
#include "base/files.h"

namespace hadal {
namespace {

// The words of this program's own command, without --transport mpi, which the started ranks know by themselves.
std::vector<std::string> own_arguments() {
  const std::string line = read_file("/proc/self/cmdline");
  std::vector<std::string> kept;
  for (size_t at = 0; at < line.size();) {
    const size_t end = std::min(line.find('\0', at), line.size());
    kept.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  kept.erase(kept.begin());
  std::erase(kept, "--transport=mpi");
  for (auto word = kept.begin(); word != kept.end();) {
    const bool both = *word == "--transport" && word + 1 != kept.end() && *(word + 1) == "mpi";
    word = both ? kept.erase(word, word + 2) : word + 1;
  }
  return kept;
}

// The command that starts this one as so many processes, word by word.
std::vector<std::string> mpirun_command(int64_t n_ranks, const std::vector<std::string>& arguments, bool is_root) {
  // What a laptop and a container need: more ranks than cores, no binding to cores, no reading of other processes'
  // memory.
  std::vector<std::string> command = {"mpirun",
                                      "-n",
                                      std::to_string(n_ranks),
                                      "--oversubscribe",
                                      "--bind-to",
                                      "none",
                                      "--mca",
                                      "btl_vader_single_copy_mechanism",
                                      "none"};
  if (is_root) command.push_back("--allow-run-as-root");
  command.push_back(std::filesystem::read_symlink("/proc/self/exe").string());
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

// As a shell takes it: what went wrong can be tried again by hand.
std::string shell_line(const std::vector<std::string>& words) {
  constexpr const char* kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=./,:@%";
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty()) line += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

// In the child. In a group of its own, so that the terminal's Ctrl-C reaches this program alone; what a terminal would
// say it cannot read. Reports through `failed` why there is no mpirun.
[[noreturn]] void become(const std::vector<std::string>& command, const sigset_t& signals, int failed) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  sigprocmask(SIG_SETMASK, &signals, nullptr);
  if (isatty(STDIN_FILENO)) {
    const int nothing = open("/dev/null", O_RDONLY);
    if (nothing >= 0) dup2(nothing, STDIN_FILENO);
  }
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  execvp(words[0], words.data());
  const int error = errno;
  if (write(failed, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

// Until the child has ended; how, as waitpid() says it.
int look_after(pid_t child, const sigset_t& signals) {
  bool asked = false;
  while (true) {
    int number = 0, status = 0;
    sigwait(&signals, &number);
    if (number == SIGCHLD) {
      if (waitpid(child, &status, WNOHANG) != child) continue;
      return status;
    }
    if (number == SIGTSTP) {
      kill(child, SIGTSTP);
      raise(SIGSTOP);
    } else if (number == SIGCONT) {
      kill(child, SIGCONT);
    } else {
      kill(child, asked ? SIGTERM : SIGUSR1);  // mpirun hands SIGUSR1 on to the ranks
      asked = true;
    }
  }
}

// Ends with the exit code of an mpirun that ended so. Of one that failed the line is said again, also where it was not
// said before: the ranks' own reasons stand above it, or there are none.
[[noreturn]] void end_like(int status, const std::string& line) {
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (code != 0) {
    const std::string how = WIFEXITED(status) ? fmt::format("ended with exit code {}", code)
                                              : fmt::format("was ended by signal {}", WTERMSIG(status));
    print_notes({fmt::format("mpirun {}; it was run as: {}", how, line),
                 "if nothing above says why, run that line by hand; where it starts no process, leave --transport "
                 "out: ranks are threads then"},
                false);
  }
  std::_Exit(code);
}

}  // namespace

void run_under_mpirun(int64_t n_ranks, bool quiet) {
  const std::vector<std::string> command = mpirun_command(n_ranks, own_arguments(), geteuid() == 0);
  const std::string line = shell_line(command);
  print_notes({"starting " + line}, quiet);
  sigset_t signals, before;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGTSTP, SIGCONT, SIGCHLD}) sigaddset(&signals, number);
  int failed[2];
  check(pipe2(failed, O_CLOEXEC) == 0, ErrorKind::io, "no pipe: {}", std::strerror(errno));
  sigprocmask(SIG_BLOCK, &signals, &before);
  const pid_t child = fork();
  if (child == 0) become(command, before, failed[1]);
  int error = child < 0 ? errno : 0;
  close(failed[1]);
  if (child > 0 && read(failed[0], &error, sizeof error) < 0) error = errno;
  close(failed[0]);
  if (error == 0) end_like(look_after(child, signals), line);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  fail(ErrorKind::unsupported,
       "mpirun cannot be started ({}): install openmpi-bin (./setup --tests), or leave --transport out: ranks are "
       "threads then; the line would have been: {}",
       std::strerror(error), line);
}

}  // namespace hadal
