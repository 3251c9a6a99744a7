#include "base/file_error.h"

#include <cerrno>
#include <cstring>

#include "base/disk_full.h"

namespace hadal {

void fail_errno(const char* action, const std::filesystem::path& path) {
  const int code = errno;
  if (code == ENOENT) fail(ErrorKind::not_found, "cannot {} '{}': no such file or directory", action, path.string());
  if (code == ENOSPC || code == EDQUOT)
    throw DiskFull(fmt::format("cannot {} '{}': the disk is full", action, path.string()));
  if (code == EFBIG)
    throw DiskFull(fmt::format("cannot {} '{}': files may not become so large here (ulimit -f)", action, path.string()),
                   false);
  if (code == EROFS) fail(ErrorKind::io, "cannot {} '{}': the file system is read-only", action, path.string());
  fail(ErrorKind::io, "cannot {} '{}': {}", action, path.string(), std::strerror(code));
}

}  // namespace hadal
