#include "base/input_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/file_error.h"
#include "base/interrupt.h"

namespace hadal {
namespace {

constexpr int kPollMilliseconds = 100;

const char* kind_of(mode_t mode) {
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return S_ISCHR(mode) ? "a device or terminal" : "no file of data";
}

}  // namespace

InputFile::InputFile(const std::filesystem::path& path, const char* action) : path_(path), action_(action) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // of no effect on files
  if (descriptor_ < 0) fail_errno(action, path);
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (!known || S_ISDIR(status.st_mode)) {
    ::close(std::exchange(descriptor_, -1));
    check(!known, ErrorKind::io, "cannot {} '{}': it is a directory, a file was expected", action, path.string());
    fail_errno(action, path);
  }
  regular_ = S_ISREG(status.st_mode);
  bytes_ = int64_t(status.st_size);
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      action_(other.action_),
      descriptor_(std::exchange(other.descriptor_, -1)),
      regular_(other.regular_),
      bytes_(other.bytes_) {}

void InputFile::wait() const {
  struct pollfd ready {
    descriptor_, POLLIN, 0
  };
  while (::poll(&ready, 1, kPollMilliseconds) <= 0)
    check(!interrupted(), ErrorKind::io, "interrupted while waiting for '{}'", path_.string());
}

int64_t InputFile::read(char* out, int64_t bytes) {
  for (;;) {
    if (!regular_) wait();  // a named pipe that nobody writes to yet would seem to be at its end
    const ssize_t got = ::read(descriptor_, out, size_t(bytes));
    if (got >= 0) return int64_t(got);
    if (errno != EINTR && errno != EAGAIN) fail_errno(action_, path_);
  }
}

void require_file(const std::filesystem::path& path, const std::string& needs) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) return;
  fail(ErrorKind::invalid, "'{}' is {}, and {}; write it to a file first", path.string(), kind_of(status.st_mode),
       needs);
}

}  // namespace hadal
