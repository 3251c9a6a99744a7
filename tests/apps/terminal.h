// A program in a terminal of its own (a pseudo-terminal), as a person sits before it.
#pragma once
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace hadal {

class Terminal {
 public:
  explicit Terminal(std::vector<std::string> words) {
    child_ = ::forkpty(&terminal_, nullptr, nullptr, nullptr);
    if (child_ != 0) return;
    ::setenv("TERM", "xterm", 1);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ~Terminal() {
    if (child_ > 0) ::kill(child_, SIGKILL), ::waitpid(child_, nullptr, 0);
    ::close(terminal_);
  }
  Terminal(const Terminal&) = delete;

  void type(const std::string& keys) { EXPECT_EQ(::write(terminal_, keys.data(), keys.size()), ssize_t(keys.size())); }
  // All that comes until `word` has come, which must be in a while; what came behind it is for the next.
  std::string until(const std::string& word) {
    while (seen_.find(word) == std::string::npos)
      if (!more()) {
        ADD_FAILURE() << "'" << word << "' did not come: " << seen_;
        return "";
      }
    const size_t end = seen_.find(word) + word.size();
    const std::string part = seen_.substr(0, end);
    seen_.erase(0, end);
    return part;
  }
  void at_least(size_t bytes) {
    while (seen_.size() < bytes && more()) continue;
    EXPECT_GE(seen_.size(), bytes);
  }
  // Until keys are read one by one: a prompt is shown a moment before.
  void until_edited() {
    for (int i = 0; i < 3000; ++i) {
      termios settings{};
      if (::tcgetattr(terminal_, &settings) == 0 && (settings.c_lflag & ICANON) == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << "it reads whole lines still: " << seen_;
  }
  // 0 .. 255 once it has ended, which must be in a while.
  int exit_status() {
    while (more()) continue;
    for (int i = 0; i < 1000; ++i) {
      int status = 0;
      if (::waitpid(child_, &status, WNOHANG) != child_) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        continue;
      }
      child_ = 0;
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return -1;
  }

 private:
  bool more() {
    pollfd one{terminal_, POLLIN, 0};
    char buffer[4096];
    if (::poll(&one, 1, 60000) <= 0) return false;
    const ssize_t n = ::read(terminal_, buffer, sizeof(buffer));
    if (n > 0) seen_.append(buffer, size_t(n));
    return n > 0;
  }
  pid_t child_ = -1;
  int terminal_ = -1;
  std::string seen_;
};

}  // namespace hadal
