// The bytes of a file in chunks, decompressed on the way: gzip (all members) and zstd (all frames) by what the file
// holds, whatever its name. A truncated or damaged compressed file throws corrupt and names the file; the hash is over
// the file's own bytes.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace hadal::data {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual int64_t read(char* out, int64_t bytes) = 0;  // bytes given; 0 = end
  virtual int64_t file_bytes_read() const = 0;         // of the file on disk, for progress
  virtual uint64_t file_hash() const = 0;  // of the file on disk, valid after the end: chained over 1 MiB chunks
  // What the file's name does not tell or tells wrongly, each completing "FILE ..."; complete after the end.
  virtual std::vector<std::string> notes() const = 0;
  virtual int64_t replaced() const { return 0; }  // characters so far that were none and became U+FFFD
};

enum class Compression { none, gzip, zstd };
Compression compression_of(const std::filesystem::path& path);  // by its last extension, in any case
std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path);
uint64_t hash_of_file(const std::filesystem::path& path);  // equals file_hash()

}  // namespace hadal::data
