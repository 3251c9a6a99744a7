// SharedFile: a file that several processes write into at once, each its own bytes. One makes it, of its whole size;
// then the others open it. What has the promise of atomic_write around it (a directory that is renamed when all are
// done) is the caller's business.
#pragma once
#include <cstdint>
#include <filesystem>

namespace hadal {

class SharedFile {
 public:
  SharedFile(const std::filesystem::path& path, uint64_t bytes);  // a new one, of zeros; over what was there
  explicit SharedFile(const std::filesystem::path& path);         // that stands there; throws not_found
  ~SharedFile();
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  void write_at(uint64_t offset, const void* data, uint64_t bytes);
  // What was written is on the disk, and the file closed; throws what the disk refused only now.
  void close();

 private:
  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace hadal
