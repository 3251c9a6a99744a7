// See scratch_numbers.h.
#include "data/scratch_numbers.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/file_error.h"

namespace hadal::data {
namespace {

constexpr size_t kWaiting = 1 << 17;  // numbers that are written at once

std::string scratch_place() { return (std::filesystem::temp_directory_path() / "hadal_scratch_XXXXXX").string(); }

}  // namespace

ScratchNumbers::ScratchNumbers() = default;

ScratchNumbers::~ScratchNumbers() {
  if (file_ >= 0) ::close(file_);
}

void ScratchNumbers::append(std::span<const uint64_t> numbers) {
  waiting_.insert(waiting_.end(), numbers.begin(), numbers.end());
  size_ += int64_t(numbers.size());
  if (waiting_.size() >= kWaiting) flush();
}

void ScratchNumbers::flush() {
  std::string place = scratch_place();
  if (file_ < 0) {
    file_ = ::mkstemp(place.data());
    if (file_ < 0) fail_errno("write", place);
    ::unlink(place.c_str());
  }
  const char* from = reinterpret_cast<const char*>(waiting_.data());
  for (size_t left = waiting_.size() * sizeof(uint64_t); left > 0;) {
    const ssize_t wrote = ::pwrite(file_, from, left, off_t(written_));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) fail_errno("write", place);
    from += wrote, left -= size_t(wrote), written_ += wrote;
  }
  waiting_.clear();
}

void ScratchNumbers::read(int64_t at, int64_t n, std::vector<uint64_t>& numbers) const {
  check(at >= 0 && n >= 0 && at + n <= size_, ErrorKind::internal, "numbers {} .. {} of {}", at, at + n, size_);
  numbers.resize(size_t(n));
  const int64_t on_disk = std::min(std::max<int64_t>(0, written_ / 8 - at), n);
  char* to = reinterpret_cast<char*>(numbers.data());
  for (int64_t left = on_disk * 8, from = at * 8; left > 0;) {
    const ssize_t got = ::pread(file_, to, size_t(left), off_t(from));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail_errno("read", scratch_place());
    to += got, from += got, left -= got;
  }
  for (int64_t i = on_disk; i < n; ++i) numbers[size_t(i)] = waiting_[size_t(at + i - written_ / 8)];
}

}  // namespace hadal::data
