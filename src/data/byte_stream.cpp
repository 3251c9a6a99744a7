// Files read in chunks of 1 MiB, through zlib or zstd where the name says so.
#include "data/byte_stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hash.h"

namespace hadal::data {
namespace {

constexpr int64_t kChunk = 1 << 20;

// The file itself: fixed chunks, so that the chained hash does not depend on how it is read.
class FileChunks {
 public:
  explicit FileChunks(const std::filesystem::path& path) : path_(path), buffer_(size_t(kChunk)) {
    file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file_ < 0 && errno == ENOENT) fail(ErrorKind::not_found, "no such file: '{}'", name());
    check(file_ >= 0, ErrorKind::io, "cannot read '{}': {}", name(), std::strerror(errno));
    struct stat status {};
    const bool directory = ::fstat(file_, &status) == 0 && S_ISDIR(status.st_mode);
    if (directory) ::close(std::exchange(file_, -1));
    check(!directory, ErrorKind::io, "cannot read '{}': it is a directory, a file was expected", name());
  }
  ~FileChunks() {
    if (file_ >= 0) ::close(file_);
  }
  FileChunks(const FileChunks&) = delete;
  FileChunks& operator=(const FileChunks&) = delete;

  // The next chunk; empty at the end.
  std::string_view next() {
    int64_t filled = 0;
    while (filled < kChunk) {
      const ssize_t got = ::read(file_, buffer_.data() + filled, size_t(kChunk - filled));
      if (got < 0 && errno == EINTR) continue;
      check(got >= 0, ErrorKind::io, "cannot read '{}': {}", name(), std::strerror(errno));
      if (got == 0) break;
      filled += got;
    }
    const std::string_view chunk(buffer_.data(), size_t(filled));
    if (filled > 0) hash_ = hash64(chunk, hash_), bytes_ += filled;
    return chunk;
  }
  int64_t bytes() const { return bytes_; }
  uint64_t hash() const { return hash_; }
  std::string name() const { return path_.string(); }

 private:
  std::filesystem::path path_;
  std::vector<char> buffer_;
  int file_ = -1;
  int64_t bytes_ = 0;
  uint64_t hash_ = 0x5eed;
};

class StreamBase : public ByteStream {
 public:
  explicit StreamBase(const std::filesystem::path& path) : file_(path) {}
  int64_t file_bytes_read() const override { return file_.bytes(); }
  uint64_t file_hash() const override { return file_.hash(); }

 protected:
  bool refill() {  // whether input_ holds something
    if (input_.empty()) input_ = file_.next();
    return !input_.empty();
  }
  [[noreturn]] void damaged(const char* kind, const char* what) const {
    fail(ErrorKind::corrupt, "'{}' is a damaged {} file: {}; fetch it again", file_.name(), kind, what);
  }
  FileChunks file_;
  std::string_view input_;
};

class PlainStream : public StreamBase {
 public:
  using StreamBase::StreamBase;
  int64_t read(char* out, int64_t bytes) override {
    if (!refill()) return 0;
    const size_t n = std::min(size_t(bytes), input_.size());
    std::memcpy(out, input_.data(), n);
    input_.remove_prefix(n);
    return int64_t(n);
  }
};

class GzipStream : public StreamBase {
 public:
  explicit GzipStream(const std::filesystem::path& path) : StreamBase(path) {
    check(inflateInit2(&stream_, 15 + 16) == Z_OK, ErrorKind::internal, "zlib does not start");
  }
  ~GzipStream() override { inflateEnd(&stream_); }
  int64_t read(char* out, int64_t bytes) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = uInt(std::min<int64_t>(bytes, 1 << 30));
    const uInt room = stream_.avail_out;
    while (stream_.avail_out == room) {
      if (!refill()) {
        if (inside_) damaged("gzip", "it ends too early");
        return 0;
      }
      if (!inside_ && ended_once_ && input_.find_first_not_of('\0') == std::string_view::npos) {
        input_ = {};  // zero padding after the last member, as tape tools leave it
        continue;
      }
      step();
    }
    return int64_t(room - stream_.avail_out);
  }

 private:
  void step() {
    if (!inside_) inflateReset(&stream_);
    inside_ = true;
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input_.data()));
    stream_.avail_in = uInt(input_.size());
    const int code = inflate(&stream_, Z_NO_FLUSH);
    input_.remove_prefix(input_.size() - stream_.avail_in);
    if (code == Z_STREAM_END) {
      inside_ = false, ended_once_ = true;
    } else if (code != Z_OK && code != Z_BUF_ERROR) {
      damaged("gzip", stream_.msg ? stream_.msg : "its content does not decompress");
    }
  }
  z_stream stream_{};
  bool inside_ = false, ended_once_ = false;
};

class ZstdStream : public StreamBase {
 public:
  explicit ZstdStream(const std::filesystem::path& path) : StreamBase(path), stream_(ZSTD_createDStream()) {
    check(stream_ != nullptr, ErrorKind::internal, "zstd does not start");
  }
  ~ZstdStream() override { ZSTD_freeDStream(stream_); }
  int64_t read(char* out, int64_t bytes) override {
    ZSTD_outBuffer target{out, size_t(bytes), 0};
    while (target.pos == 0) {
      if (!refill() && !flushing_) {
        if (inside_) damaged("zstd", "it ends too early");
        return 0;
      }
      ZSTD_inBuffer source{input_.data(), input_.size(), 0};
      const size_t left = ZSTD_decompressStream(stream_, &target, &source);
      if (ZSTD_isError(left)) damaged("zstd", ZSTD_getErrorName(left));
      input_.remove_prefix(source.pos);
      inside_ = left != 0;
      flushing_ = target.pos == target.size && inside_;  // more may wait inside without further input
    }
    return int64_t(target.pos);
  }

 private:
  ZSTD_DStream* stream_;
  bool inside_ = false, flushing_ = false;
};

}  // namespace

Compression compression_of(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".gz") return Compression::gzip;
  if (extension == ".zst") return Compression::zstd;
  return Compression::none;
}

std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path) {
  switch (compression_of(path)) {
    case Compression::gzip: return std::make_unique<GzipStream>(path);
    case Compression::zstd: return std::make_unique<ZstdStream>(path);
    case Compression::none: break;
  }
  return std::make_unique<PlainStream>(path);
}

uint64_t hash_of_file(const std::filesystem::path& path) {
  FileChunks file(path);
  while (!file.next().empty()) {
  }
  return file.hash();
}

}  // namespace hadal::data
