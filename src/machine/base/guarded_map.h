// GuardedMap: a map of a file that another process may cut off or write over while it is used. Reading a mapped page
// behind the file's new end raises SIGBUS, which would end the program: here such a page reads as zeros instead, and
// check_intact() says so. Whoever reads through data() calls it before a result leaves the program. read_at() copies
// without the map, and fails where the file ends. Nothing ever writes to the file: the map is private, a write through
// private_data() changes this process's copy of the page.
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace hadal {

class GuardedMap {
 public:
  // many: one of thousands. The file is not kept open (a process may hold few), so there is no read_at(), and a file
  // that was renamed before it was cut off goes unnoticed.
  enum class Use { single, many };
  explicit GuardedMap(const std::filesystem::path& path, Use use = Use::single);
  ~GuardedMap();
  GuardedMap(const GuardedMap&) = delete;
  GuardedMap& operator=(const GuardedMap&) = delete;

  const uint8_t* data() const { return data_; }
  uint8_t* private_data() const { return data_; }  // for views that carry no const
  size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  void read_at(uint64_t offset, void* destination, size_t bytes) const;  // throws corrupt, io
  uint64_t bytes_read() const { return bytes_read_; }  // by read_at(), so far; what the map was asked for nobody counts
  void check_intact() const;                           // throws corrupt: cut off or changed since it was opened

 private:
  std::filesystem::path path_;
  int file_ = -1, region_ = -1;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  mutable std::atomic<uint64_t> bytes_read_ = 0;
  uint64_t device_ = 0, inode_ = 0;
  int64_t changed_seconds_ = 0, changed_nanoseconds_ = 0;
};

}  // namespace hadal
