#include "grammar/compile_child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>

#include "base/clock.h"
#include "base/error.h"

extern char** environ;

namespace hadal {
namespace {

// Numbers and texts one after the other; both ends are the same program.
void put(std::string& to, uint64_t value) { to.append(reinterpret_cast<const char*>(&value), sizeof(value)); }
void put(std::string& to, const std::string& text) {
  put(to, text.size());
  to += text;
}

class Taken {
 public:
  explicit Taken(const std::string& from) : from_(from) {}
  uint64_t number() {
    uint64_t value = 0;
    check(from_.size() - at_ >= sizeof(value), ErrorKind::corrupt, "the task is cut off");
    std::memcpy(&value, from_.data() + at_, sizeof(value));
    at_ += sizeof(value);
    return value;
  }
  std::string text() {
    const uint64_t size = number();
    check(size <= from_.size() - at_, ErrorKind::corrupt, "the task is cut off");
    at_ += size;
    return from_.substr(at_ - size, size);
  }

 private:
  const std::string& from_;
  size_t at_ = 0;
};

class Socket {
 public:
  Socket() {
    check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_) == 0, ErrorKind::io,
          "no socket for the grammar's compiler: {}", std::strerror(errno));
  }
  ~Socket() {
    close_child();
    ::close(ends_[0]);
  }
  Socket(const Socket&) = delete;
  int own() const { return ends_[0]; }
  int child() const { return ends_[1]; }
  void close_child() {
    if (ends_[1] >= 0) ::close(ends_[1]);
    ends_[1] = -1;
  }

 private:
  int ends_[2] = {-1, -1};
};

// A process that is waited for, and does not outlive this.
class Child {
 public:
  Child(const std::string& program, int socket) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    ::posix_spawn_file_actions_init(&files), ::posix_spawnattr_init(&how);
    ::posix_spawn_file_actions_adddup2(&files, socket, 0);
    ::posix_spawn_file_actions_adddup2(&files, socket, 1);
    ::posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_addclosefrom_np(&files, 3);    // no peer's connection, no model's file
    ::posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP);  // Ctrl-C is the server's
    std::string name = "hadal", verb = kGrammarChild;
    char* arguments[] = {name.data(), verb.data(), nullptr};
    std::vector<char*> kept;
    for (char** one = environ; *one != nullptr; ++one)
      if (std::strncmp(*one, "HADAL_API_KEY=", 14) != 0) kept.push_back(*one);
    kept.push_back(nullptr);
    const int error = ::posix_spawn(&id_, program.c_str(), &files, &how, arguments, kept.data());
    ::posix_spawn_file_actions_destroy(&files), ::posix_spawnattr_destroy(&how);
    check(error == 0, ErrorKind::io, "{}: the grammar's compiler does not start: {}", program, std::strerror(error));
  }
  ~Child() {
    if (id_ <= 0) return;
    ::kill(id_, SIGKILL);
    wait();
  }
  Child(const Child&) = delete;
  int wait() {  // its status
    int status = 0;
    while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) continue;
    id_ = 0;
    return status;
  }

 private:
  pid_t id_ = 0;
};

// Sends all and reads all that comes back. False: too late, or too much.
bool exchanged(int socket, const std::string& task, const GrammarLimits& limits, std::string& answer) {
  const double deadline = steady_seconds() + limits.wait_seconds;
  size_t sent = 0;
  std::vector<char> buffer(1 << 16);
  while (true) {
    const double left = deadline - steady_seconds();
    if (left <= 0 || int64_t(answer.size()) > limits.compiled_bytes) return false;
    pollfd one{socket, short(POLLIN | (sent < task.size() ? POLLOUT : 0)), 0};
    if (::poll(&one, 1, int(std::ceil(std::min(left, 1.0) * 1000))) < 0) continue;
    if ((one.revents & POLLOUT) != 0 && sent < task.size()) {
      const ssize_t n = ::send(socket, task.data() + sent, task.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) sent += size_t(n);
      if (n < 0 && errno != EAGAIN && errno != EINTR) sent = task.size();  // it ended; it says why, or its status does
      if (sent == task.size()) ::shutdown(socket, SHUT_WR);
    }
    if ((one.revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
    const ssize_t n = ::recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n > 0) answer.append(buffer.data(), size_t(n));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return true;
  }
}

std::string task_of(const TokenTable& tokens, const std::string& format, const GrammarLimits& limits) {
  std::string task;
  put(task, uint64_t(std::ceil(limits.compile_seconds)));
  put(task, uint64_t(limits.compile_bytes));
  put(task, tokens.size());
  for (const std::string& token : tokens) put(task, token);
  put(task, format);
  return task;
}

void limit(int what, uint64_t most) {
  const rlimit both{most, most};
  check(::setrlimit(what, &both) == 0, ErrorKind::io, "a limit of the grammar's compiler could not be set: {}",
        std::strerror(errno));
}

std::string answer_to(const std::string& input) {
  try {
    Taken task(input);
    limit(RLIMIT_CPU, task.number());
    limit(RLIMIT_CORE, 0);
    if (const uint64_t bytes = task.number(); bytes > 0) limit(RLIMIT_AS, bytes);
    TokenTable tokens(size_t(task.number()));
    for (std::string& token : tokens) token = task.text();
    return "k" + compile_grammar(tokens, task.text());
  } catch (const std::bad_alloc&) {
    return "em";
  } catch (const std::exception& error) {
    return std::string("e") + error.what();
  }
}

}  // namespace

std::string compile_in_child(const TokenTable& tokens, const std::string& format, const GrammarLimits& limits) {
  Socket socket;
  Child child(limits.program, socket.child());
  socket.close_child();
  std::string answer;
  if (!exchanged(socket.own(), task_of(tokens, format, limits), limits, answer))
    fail(ErrorKind::invalid, "it is too large to be compiled here: more than {} s or {} MiB of result; make it smaller",
         limits.wait_seconds, limits.compiled_bytes >> 20);
  const int status = child.wait();
  const bool too_large = answer == "em";
  check(!too_large, ErrorKind::invalid, "compiling it takes more than {} MiB of memory; make it smaller",
        limits.compile_bytes >> 20);
  if (answer.starts_with('k') && WIFEXITED(status) && WEXITSTATUS(status) == 0) return answer.substr(1);
  check(!answer.starts_with('e'), ErrorKind::invalid, "{}", answer.substr(answer.empty() ? 0 : 1));
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  check(signal != SIGXCPU && signal != SIGKILL, ErrorKind::invalid,
        "compiling it takes more than {} s of computing; make it smaller", limits.compile_seconds);
  check(signal == 0, ErrorKind::invalid, "compiling it failed (signal {}): it nests too deeply or is too large",
        signal);
  fail(ErrorKind::internal, "{}: is no program that compiles grammars (exit status {})", limits.program,
       WEXITSTATUS(status));
}

int run_grammar_child() {
  if (::nice(5) < 0) errno = 0;  // the engine goes first
  std::string input;
  std::vector<char> buffer(1 << 16);
  ssize_t n = 0;
  while ((n = ::read(0, buffer.data(), buffer.size())) != 0) {
    if (n > 0) input.append(buffer.data(), size_t(n));
    if (n < 0 && errno != EINTR) return 1;
  }
  const std::string answer = answer_to(input);
  for (size_t at = 0; at < answer.size();) {
    const ssize_t sent = ::send(1, answer.data() + at, answer.size() - at, MSG_NOSIGNAL);
    if (sent > 0) at += size_t(sent);
    if (sent < 0 && errno != EINTR) return 1;
  }
  return 0;
}

}  // namespace hadal
