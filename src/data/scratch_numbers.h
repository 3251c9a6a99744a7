// Lists of numbers that are too many for memory: written one behind the other into a file without a name, in the
// directory of temporary files (TMPDIR), that vanishes with this. Throws io where there is no room.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace hadal::data {

class ScratchNumbers {
 public:
  ScratchNumbers();
  ~ScratchNumbers();
  ScratchNumbers(const ScratchNumbers&) = delete;
  ScratchNumbers& operator=(const ScratchNumbers&) = delete;

  int64_t size() const { return size_; }                                   // numbers
  void append(std::span<const uint64_t> numbers);                          // at size()
  void read(int64_t at, int64_t n, std::vector<uint64_t>& numbers) const;  // replaces numbers

 private:
  void flush();
  int file_ = -1;
  int64_t size_ = 0, written_ = 0;
  std::vector<uint64_t> waiting_;
};

}  // namespace hadal::data
