// The bytes of a file in chunks, decompressed on the way: .gz (all members), .zst (all frames), anything else as it is.
// A truncated or damaged compressed file throws corrupt and names the file; the hash is over the file's own bytes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace hadal::data {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual int64_t read(char* out, int64_t bytes) = 0;  // bytes given; 0 = end
  virtual int64_t file_bytes_read() const = 0;         // of the file on disk, for progress
  virtual uint64_t file_hash() const = 0;  // of the file on disk, valid after the end: chained over 1 MiB chunks
};

enum class Compression { none, gzip, zstd };
Compression compression_of(const std::filesystem::path& path);  // by its last extension
std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path);
uint64_t hash_of_file(const std::filesystem::path& path);  // equals file_hash()

}  // namespace hadal::data
