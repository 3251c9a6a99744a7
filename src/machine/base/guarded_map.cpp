// The signal handler and its list of maps. A handler gets no argument of ours, so the list is the one mutable global
// here; it holds addresses only, each slot owned by the map that took it.
#include "base/guarded_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/error.h"

namespace hadal {
namespace {

constexpr int kMaxRegions = 32768;

struct Region {
  std::atomic<uintptr_t> begin{0}, end{0};  // begin 0: the slot is free
  std::atomic<bool> cut{false};
};
Region regions[kMaxRegions];
struct sigaction previous_action;

// Replaces everything from the page that could not be read to the end of its map by zeros, and notes that. The kernel
// then repeats the access. mmap is a plain system call here; nothing else of the process is touched.
void on_bus_error(int signal, siginfo_t* info, void* context) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Region& region : regions) {
    const uintptr_t begin = region.begin.load(), end = region.end.load();
    if (begin == 0 || at < begin || at >= end) continue;
    const int code = errno;
    const uintptr_t page = at / 4096 * 4096;
    region.cut.store(true);
    const void* zeros = ::mmap(reinterpret_cast<void*>(page), end - page, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    errno = code;
    if (zeros != MAP_FAILED) return;
    break;
  }
  // Not ours: as if this handler did not exist; the access is repeated under the former action.
  if ((previous_action.sa_flags & SA_SIGINFO) != 0 && previous_action.sa_sigaction != nullptr) {
    previous_action.sa_sigaction(signal, info, context);
    return;
  }
  ::sigaction(SIGBUS, &previous_action, nullptr);
}

void install_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &previous_action);
  });
}

// Writable, so that a stray write is no crash; without a claim on memory that only such writes would need. Where the
// system grants no such map (strict accounting), a read-only one.
void* map_private(int file, size_t size) {
  void* map = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0);
  return map != MAP_FAILED ? map : ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
}

int take_region(const void* data, size_t size) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data);
  for (int i = 0; i < kMaxRegions; ++i) {
    uintptr_t expected = 0;
    if (!regions[i].begin.compare_exchange_strong(expected, begin)) continue;
    regions[i].cut.store(false);
    regions[i].end.store(begin + size);
    return i;
  }
  return -1;
}

[[noreturn]] void fail_system(const char* action, const std::filesystem::path& path) {
  const int code = errno;
  fail(code == ENOENT ? ErrorKind::not_found : ErrorKind::io, "cannot {} '{}': {}", action, path.string(),
       std::strerror(code));
}

}  // namespace

GuardedMap::GuardedMap(const std::filesystem::path& path, Use use) : path_(path) {
  struct stat status {};
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not make us wait
  if (file_ < 0) fail_system("read", path);
  const bool readable = ::fstat(file_, &status) == 0 && S_ISREG(status.st_mode);
  if (!readable) {
    ::close(file_);
    fail(ErrorKind::io, "cannot map '{}': it is not a regular file", path.string());
  }
  size_ = size_t(status.st_size);
  device_ = status.st_dev, inode_ = status.st_ino;
  changed_seconds_ = status.st_mtim.tv_sec, changed_nanoseconds_ = status.st_mtim.tv_nsec;
  if (size_ == 0) return;
  install_handler();
  void* map = map_private(file_, size_);
  if (map == MAP_FAILED) {
    const int code = errno;
    ::close(file_);
    errno = code;
    fail_system("map", path);
  }
  region_ = take_region(map, size_);
  if (region_ < 0) {
    ::munmap(map, size_);
    ::close(file_);
    fail(ErrorKind::io, "cannot map '{}': {} files are mapped already", path.string(), kMaxRegions);
  }
  data_ = static_cast<uint8_t*>(map);
  if (use == Use::many) ::close(std::exchange(file_, -1));
}

GuardedMap::~GuardedMap() {
  if (region_ >= 0) {
    regions[region_].end.store(0);
    regions[region_].begin.store(0);
  }
  if (data_ != nullptr) ::munmap(data_, size_);
  if (file_ >= 0) ::close(file_);
}

void GuardedMap::read_at(uint64_t offset, void* destination, size_t bytes) const {
  check(file_ >= 0, ErrorKind::internal, "{}: is mapped as one of many and not open", path_.string());
  char* to = static_cast<char*>(destination);
  while (bytes > 0) {
    const ssize_t got = ::pread(file_, to, bytes, off_t(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_system("read", path_);
    check(got > 0, ErrorKind::corrupt, "{}: ends at byte {}, {} when it was opened: cut off while in use",
          path_.string(), offset, size_);
    to += got, bytes -= size_t(got), offset += uint64_t(got), bytes_read_ += uint64_t(got);
  }
}

void GuardedMap::check_intact() const {
  const bool cut = region_ >= 0 && regions[region_].cut.load();
  struct stat status {};
  if (file_ >= 0) {
    if (::fstat(file_, &status) != 0) fail_system("look at", path_);
  } else if (::stat(path_.c_str(), &status) != 0 || status.st_dev != device_ || status.st_ino != inode_) {
    check(!cut, ErrorKind::corrupt, "{}: was cut off while in use", path_.string());
    return;  // removed or replaced: the map keeps the file that was opened
  }
  check(!cut && size_t(status.st_size) == size_, ErrorKind::corrupt, "{}: has {} bytes, {} when it was opened: {}",
        path_.string(), int64_t(status.st_size), size_,
        size_t(status.st_size) == size_ ? "part of it could not be read" : "cut off or extended while in use");
  check(status.st_mtim.tv_sec == changed_seconds_ && status.st_mtim.tv_nsec == changed_nanoseconds_, ErrorKind::corrupt,
        "{}: was written to while in use; what was computed from it is not to be trusted", path_.string());
}

}  // namespace hadal
