#include "base/shared_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/file_error.h"

namespace hadal {

SharedFile::SharedFile(const std::filesystem::path& path, uint64_t bytes) : path_(path) {
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail_errno("write", path_);
  if (::ftruncate(file_, off_t(bytes)) == 0) return;
  const int code = errno;
  ::close(std::exchange(file_, -1));
  errno = code;
  fail_errno("write", path_);
}

SharedFile::SharedFile(const std::filesystem::path& path) : path_(path) {
  file_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file_ < 0) fail_errno("write", path_);
}

SharedFile::~SharedFile() {
  if (file_ >= 0) ::close(file_);
}

void SharedFile::write_at(uint64_t offset, const void* data, uint64_t bytes) {
  check(file_ >= 0, ErrorKind::internal, "write into '{}', which is closed", path_.string());
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t wrote = ::pwrite(file_, p, bytes, off_t(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) fail_errno("write", path_);
    p += wrote, bytes -= uint64_t(wrote), offset += uint64_t(wrote);
  }
}

void SharedFile::close() {
  check(file_ >= 0, ErrorKind::internal, "'{}' was already closed", path_.string());
  if (::fsync(file_) != 0 && errno != EINVAL && errno != EROFS) fail_errno("write", path_);
  if (::close(std::exchange(file_, -1)) != 0) fail_errno("write", path_);
}

}  // namespace hadal
