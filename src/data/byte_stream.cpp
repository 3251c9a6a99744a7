// Files read in chunks of 1 MiB, through zlib or zstd where the first one begins as theirs do.
#include "data/byte_stream.h"

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/input_file.h"
#include "data/file_names.h"

namespace hadal::data {
namespace {

constexpr int64_t kChunk = 1 << 20;
constexpr std::string_view kGzipMagic = "\x1F\x8B", kZstdMagic = "\x28\xB5\x2F\xFD";

// Whether these bytes, of which there may be fewer, are how a format begins.
bool may_begin(std::string_view bytes, std::string_view magic) {
  const size_t n = std::min(bytes.size(), magic.size());
  return bytes.substr(0, n) == magic.substr(0, n);
}

bool begins_frame(std::string_view bytes) {  // of zstd: one of data, or one to be skipped
  const bool skippable = !bytes.empty() && (bytes[0] & 0xF0) == 0x50 && may_begin(bytes.substr(1), "\x2A\x4D\x18");
  return skippable || may_begin(bytes, kZstdMagic);
}

// The file itself: fixed chunks, so that the chained hash does not depend on how it is read.
class FileChunks {
 public:
  explicit FileChunks(const std::filesystem::path& path) : path_(path), file_(path), buffer_(size_t(kChunk)) {}

  // The next chunk; empty at the end.
  std::string_view next() {
    int64_t filled = 0;
    while (filled < kChunk) {
      const int64_t got = file_.read(buffer_.data() + filled, kChunk - filled);
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
  InputFile file_;
  std::vector<char> buffer_;
  int64_t bytes_ = 0;
  uint64_t hash_ = 0x5eed;
};

class StreamBase : public ByteStream {
 public:
  StreamBase(FileChunks file, std::string_view first) : file_(std::move(file)), input_(first) {}
  int64_t file_bytes_read() const override { return file_.bytes(); }
  uint64_t file_hash() const override { return file_.hash(); }
  std::vector<std::string> notes() const override {
    std::vector<std::string> notes = notes_;
    if (left_out_ > 0)
      notes.push_back(fmt::format("goes on behind its compressed end with {} other bytes, left out", left_out_));
    return notes;
  }
  void note(std::string text) { notes_.push_back(std::move(text)); }

 protected:
  bool refill() {  // whether input_ holds something
    if (input_.empty()) input_ = file_.next();
    return !input_.empty();
  }
  // Passes over what follows the compressed part: zeros, as tape tools leave them, or anything else, which is counted.
  void leave_out() {
    for (; refill(); input_ = {})
      if (left_out_ > 0 || input_.find_first_not_of('\0') != std::string_view::npos)
        left_out_ += int64_t(input_.size());
  }
  [[noreturn]] void damaged(const char* kind, const char* what) const {
    fail(ErrorKind::corrupt, "'{}' is a damaged {} file: {}; fetch it again", file_.name(), kind, what);
  }
  FileChunks file_;
  std::string_view input_;

 private:
  std::vector<std::string> notes_;
  int64_t left_out_ = 0;
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
  GzipStream(FileChunks file, std::string_view first) : StreamBase(std::move(file), first) {
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
      if (!inside_ && ended_once_ && !may_begin(input_, kGzipMagic))
        leave_out();
      else
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
  ZstdStream(FileChunks file, std::string_view first)
      : StreamBase(std::move(file), first), stream_(ZSTD_createDStream()) {
    check(stream_ != nullptr, ErrorKind::internal, "zstd does not start");
    const int largest = ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound;  // as `zstd --long=31` may have used it
    check(!ZSTD_isError(ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, largest)), ErrorKind::internal,
          "zstd does not take a window of 2^{} bytes", largest);
  }
  ~ZstdStream() override { ZSTD_freeDStream(stream_); }
  int64_t read(char* out, int64_t bytes) override {
    ZSTD_outBuffer target{out, size_t(bytes), 0};
    while (target.pos == 0) {
      if (!refill() && !flushing_) {
        if (inside_) damaged("zstd", "it ends too early");
        return 0;
      }
      if (!inside_ && ended_once_ && !begins_frame(input_)) {
        leave_out();
        continue;
      }
      ZSTD_inBuffer source{input_.data(), input_.size(), 0};
      const size_t left = ZSTD_decompressStream(stream_, &target, &source);
      if (ZSTD_isError(left)) refuse(left);
      ended_once_ = true;
      input_.remove_prefix(source.pos);
      inside_ = left != 0;
      flushing_ = target.pos == target.size && inside_;  // more may wait inside without further input
    }
    return int64_t(target.pos);
  }

 private:
  [[noreturn]] void refuse(size_t error) const {
    const ZSTD_ErrorCode code = ZSTD_getErrorCode(error);
    if (code == ZSTD_error_dictionary_wrong)
      fail(ErrorKind::unsupported, "'{}' was compressed with a dictionary; decompress it first: zstd -d -D DICTIONARY",
           file_.name());
    if (code == ZSTD_error_memory_allocation)
      fail(ErrorKind::out_of_memory, "'{}' needs more memory for its window than there is", file_.name());
    damaged("zstd", ZSTD_getErrorName(error));
  }
  ZSTD_DStream* stream_;
  bool inside_ = false, flushing_ = false, ended_once_ = false;
};

const char* name_of(Compression compression) {
  return compression == Compression::gzip ? "gzip" : compression == Compression::zstd ? "zstd" : "compressed";
}

Compression compression_in(std::string_view start, Compression named) {
  if (start.empty()) return Compression::none;
  if (start.size() >= kGzipMagic.size() || named == Compression::gzip)
    if (may_begin(start, kGzipMagic)) return Compression::gzip;
  if (start.size() >= kZstdMagic.size() || named == Compression::zstd)
    if (begins_frame(start)) return Compression::zstd;
  return Compression::none;
}

}  // namespace

Compression compression_of(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  if (extension == ".gz") return Compression::gzip;
  if (extension == ".zst") return Compression::zstd;
  return Compression::none;
}

std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path) {
  FileChunks file(path);
  const std::string_view first = file.next();  // stays where it is when the file moves
  const Compression named = compression_of(path), found = compression_in(first, named);
  std::unique_ptr<StreamBase> stream;
  switch (found) {
    case Compression::gzip: stream = std::make_unique<GzipStream>(std::move(file), first); break;
    case Compression::zstd: stream = std::make_unique<ZstdStream>(std::move(file), first); break;
    case Compression::none: stream = std::make_unique<PlainStream>(std::move(file), first); break;
  }
  if (found == Compression::none && named != found && !first.empty())
    stream->note(fmt::format("is no {} file, whatever its name says, and is read as it stands", name_of(named)));
  else if (found != named && !first.empty())
    stream->note(fmt::format("is a {} file by what it holds", name_of(found)));
  return stream;
}

uint64_t hash_of_file(const std::filesystem::path& path) {
  FileChunks file(path);
  while (!file.next().empty()) {
  }
  return file.hash();
}

}  // namespace hadal::data
