// Safetensors files: 8 bytes n (little-endian), n bytes of JSON header padded with spaces so that the data begins at a
// multiple of 8, then the tensors' bytes without gaps. Header: {"__metadata__": {str: str}, name: {"dtype": "F32",
// "shape": [..], "data_offsets": [begin, end]}}, offsets counted from the end of the header. The writer streams (one
// tensor in memory at a time is enough) and is atomic: nothing stands at the path before commit(). The reader maps the
// file and trusts nothing: every fault of header, shape or offsets is an Error of kind corrupt that names it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/guarded_map.h"
#include "tensor/tensor.h"

namespace hadal {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  uint64_t begin = 0, end = 0;  // of the data, from the end of the header; the writer fills them
};

using SafetensorsMetadata = std::map<std::string, std::string>;

class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // in the order of the data
  const SafetensorsMetadata& metadata() const { return metadata_; }
  std::vector<std::string> names() const;  // in the order of the data
  bool has(const std::string& name) const { return index_.count(name) != 0; }
  const SafetensorsEntry& entry(const std::string& name) const;  // not_found names the nearest
  // A view of the map, valid beyond the reader's life (an aligned copy where the file did not align the data). What is
  // written through it changes this process's pages and never the file. What reads through it ends with check_intact()
  // (base/guarded_map.h).
  Tensor tensor(const std::string& name) const;
  // Copies bytes of a tensor from the file, not through the map; throws corrupt where the file ends too early.
  void read(const std::string& name, uint64_t offset, void* destination, size_t bytes) const;
  uint64_t bytes_read() const { return file_->bytes_read(); }  // by read(), so far
  void check_intact() const { file_->check_intact(); }

 private:
  void parse(std::string_view header, uint64_t data_bytes);
  void check_layout(uint64_t data_bytes);

  std::filesystem::path path_;
  std::shared_ptr<GuardedMap> file_;
  uint64_t data_begin_ = 0;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, size_t> index_;
  SafetensorsMetadata metadata_;
};

// Lays the entries out (by descending dtype size, which keeps every tensor aligned, else in the given order; fills
// begin and end) and returns what stands in the file before the data. `where` stands in messages.
std::string safetensors_prefix(std::vector<SafetensorsEntry>& entries, const SafetensorsMetadata& metadata,
                               const std::string& where);

class SafetensorsWriter {
 public:
  // Declares all tensors; they are laid out by descending dtype size (keeps every tensor aligned), else in the given
  // order.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<SafetensorsEntry> entries,
                    const SafetensorsMetadata& metadata = {});

  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // the order in which write() wants them
  void write(const std::string& name, const Tensor& tensor);  // dtype and shape as declared; strided rows are fine
  void commit();                                              // throws invalid while a tensor is missing

 private:
  std::vector<SafetensorsEntry> entries_;
  AtomicFile file_;
  size_t next_ = 0;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};
void save_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                      const SafetensorsMetadata& metadata = {});

}  // namespace hadal
