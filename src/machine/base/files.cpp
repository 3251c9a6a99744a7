// POSIX files with errors that name the path; see files.h for the promises.
#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file_error.h"
#include "base/input_file.h"

namespace hadal {
namespace fs = std::filesystem;
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

// What is there and is neither file nor directory, as /dev/null or a pipe: it is written into, and stays what it is.
bool is_stream(const fs::path& path) {
  std::error_code code;
  const fs::file_status status = fs::status(path, code);
  return fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
}

void copy_into(const Descriptor& from, uint64_t bytes, const fs::path& stream) {
  const Descriptor to{::open(stream.c_str(), O_WRONLY | O_CLOEXEC)};
  if (to.fd < 0) fail_errno("write", stream);
  char part[1 << 16];
  for (uint64_t at = 0; at < bytes;) {
    const ssize_t got = ::pread(from.fd, part, sizeof part, off_t(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail_errno("write", stream);
    for (ssize_t given = 0; given < got;) {
      const ssize_t wrote = ::write(to.fd, part + given, size_t(got - given));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) fail_errno("write", stream);
      given += wrote;
    }
    at += uint64_t(got);
  }
}

fs::path directory_of(const fs::path& path) {
  fs::path parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

}  // namespace

std::string read_file(const fs::path& path) {
  InputFile file(path);
  std::string content(size_t(std::max<int64_t>(file.bytes(), 0)), '\0');
  size_t filled = 0;
  for (;;) {  // also files whose size the system does not know (pipes, /proc)
    if (filled == content.size()) content.resize(std::max<size_t>(4096, filled + filled / 2));
    const int64_t got = file.read(content.data() + filled, int64_t(content.size() - filled));
    if (got == 0) break;
    filled += size_t(got);
  }
  content.resize(filled);
  return content;
}

void atomic_write(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

MappedFile::MappedFile(const fs::path& path) {
  require_file(path, "this is read from several places");
  const InputFile file(path);
  check(file.regular(), ErrorKind::io, "cannot map '{}': it is not a regular file", path.string());
  size_ = size_t(file.bytes());
  if (size_ == 0) return;
  void* map = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.descriptor(), 0);
  if (map == MAP_FAILED) {
    size_ = 0;
    fail_errno("map", path);
  }
  data_ = static_cast<const uint8_t*>(map);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
}

AtomicFile::AtomicFile(const fs::path& path) : path_(path) {
  static std::atomic<uint64_t> counter{0};  // only keeps temporaries of one process apart
  temporary_ = is_stream(path) ? fs::temp_directory_path() / "hadal" : path;
  temporary_ += fmt::format(".tmp.{}.{}", ::getpid(), counter.fetch_add(1));
  file_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) fail_errno("write", path_);
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  write_at(size_, data, bytes);
  size_ += bytes;
}

void AtomicFile::write_at(uint64_t offset, const void* data, size_t bytes) {
  check(file_ >= 0 && offset <= size_, ErrorKind::internal, "write outside of '{}'", path_.string());
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t wrote = ::pwrite(file_, p, bytes, off_t(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) fail_errno("write", path_);
    p += wrote, bytes -= size_t(wrote), offset += uint64_t(wrote);
  }
}

void AtomicFile::commit() {
  check(file_ >= 0, ErrorKind::internal, "'{}' was already committed", path_.string());
  if (is_stream(path_)) {
    ::unlink(temporary_.c_str());
    return copy_into(Descriptor{std::exchange(file_, -1)}, size_, path_);
  }
  if (::fsync(file_) != 0 && errno != EINVAL && errno != EROFS) fail_errno("write", path_);
  const int closed = ::close(std::exchange(file_, -1));
  if (closed != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary_.c_str());
    errno = code;
    fail_errno("write", path_);
  }
  sync_directory(directory_of(path_));
}

void sync_directory(const fs::path& directory) {
  Descriptor handle{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (handle.fd < 0) fail_errno("open directory", directory);
  // Some file systems cannot sync a directory and say EINVAL: then there is nothing more that we can do.
  if (::fsync(handle.fd) != 0 && errno != EINVAL && errno != EROFS) fail_errno("sync directory", directory);
}

void make_directories(const fs::path& directory) {
  std::error_code code;
  fs::create_directories(directory, code);
  if (code) {
    errno = code.value();
    if (code.value() == ENOTDIR || code.value() == EEXIST)
      fail(ErrorKind::io, "cannot create directory '{}': a file of that name is in the way", directory.string());
    fail_errno("create directory", directory);
  }
  check(fs::is_directory(directory), ErrorKind::io, "cannot create directory '{}': a file of that name is in the way",
        directory.string());
}

FileLock::FileLock(const fs::path& path, const std::string& what) {
  Descriptor file{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)};
  if (file.fd < 0) fail_errno("lock", path);
  if (::flock(file.fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) fail_errno("lock", path);
    char holder[32] = {};
    const ssize_t got = ::pread(file.fd, holder, sizeof holder - 1, 0);
    const std::string pid = got > 0 ? std::string(holder, strcspn(holder, "\n")) : "unknown";
    fail(ErrorKind::invalid, "the {} is in use by process {} (lock '{}'); wait for it or choose another", what, pid,
         path.string());
  }
  const std::string pid = fmt::format("{}\n", ::getpid());
  // The pid is a courtesy for the message: a full disk must not keep us from holding the lock.
  if (::ftruncate(file.fd, 0) == 0 && ::pwrite(file.fd, pid.data(), pid.size(), 0) < 0) errno = 0;
  file_ = std::exchange(file.fd, -1);
}

FileLock::~FileLock() {
  if (file_ >= 0) ::close(file_);
}

uint64_t free_disk_bytes(const fs::path& path) {
  std::error_code code;
  fs::path place = fs::absolute(path, code);
  while (!fs::exists(place, code) && place.has_parent_path() && place != place.parent_path())
    place = place.parent_path();
  struct statvfs status {};
  if (::statvfs(place.c_str(), &status) != 0) fail_errno("look at the disk of", place);
  return uint64_t(status.f_bavail) * status.f_frsize;
}

}  // namespace hadal
