// Files: whole reads, read-only maps, writes that are complete or absent, locks, globs, free space.
// A write goes to a temporary beside the target, is synced, renamed over it, and the directory is synced: after a crash
// or a full disk the old file stands. Every failure is an Error that names the path and what the system said.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal {

std::string read_file(const std::filesystem::path& path);  // not_found, or io (a directory, no permission)
void atomic_write(const std::filesystem::path& path, std::string_view content);

// A read-only map of a file; an empty file maps to an empty span. The file must not shrink while mapped.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept { swap(other); }
  MappedFile& operator=(MappedFile&& other) noexcept {
    swap(other);
    return *this;
  }

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  void swap(MappedFile& other) { std::swap(data_, other.data_), std::swap(size_, other.size_); }
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// A file being written in pieces, with the promise of atomic_write: nothing is at `path` until commit(); without it the
// temporary is removed. write() throws io on a full disk.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void write_at(uint64_t offset, const void* data, size_t bytes);  // within what was written
  uint64_t size() const { return size_; }
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  int file_ = -1;
  uint64_t size_ = 0;
};

void sync_directory(const std::filesystem::path& directory);    // makes renames and new names in it durable
void make_directories(const std::filesystem::path& directory);  // like mkdir -p, with our errors

// An exclusive lock (flock) on a file, released with the object or the process. Throws invalid when another process
// holds it, with that process's id in the message.
class FileLock {
 public:
  FileLock() = default;
  explicit FileLock(const std::filesystem::path& path, const std::string& what = "file");
  ~FileLock();
  FileLock(FileLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  bool held() const { return file_ >= 0; }

 private:
  int file_ = -1;
};

// Files that a pattern names, sorted by bytes: a file, a directory (all regular files below it, hidden ones left out),
// or a pattern with * ? [..] per path component and ** for any directories. Links are followed; each directory is
// visited once, under its own name if it has one there. Nothing found: not_found. What was met and could not be read, a
// link to nothing or a closed directory, is added to `left_out`, one line each.
std::vector<std::filesystem::path> list_files(const std::string& pattern, std::vector<std::string>* left_out = nullptr);

uint64_t free_disk_bytes(
    const std::filesystem::path& path);  // of the file system that holds path or its nearest parent

}  // namespace hadal
