// TensorFiles: the tensors of a directory, whether they lie in one model.safetensors or in shards that
// model.safetensors.index.json lists ({"metadata": {...}, "weight_map": {tensor: shard}}); a checkpoint has more of
// them under another stem. Every header is read and checked when the directory is opened; data is mapped, and read only
// where it is used. An index may name plain files of its own directory only. The index and the shards must name the
// same tensors: anything else is an Error that names them.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/safetensors.h"
#include "storage/shards.h"

namespace hadal {

class TensorFiles {
 public:
  // not_found when there is neither a STEM.safetensors nor an index, corrupt with what is wrong.
  static TensorFiles open(const std::filesystem::path& directory, const std::string& stem = kModelStem);

  // One more tensor, of other files: a choice among several sets is made of an empty one, which then is where the first
  // of them is.
  void add(const TensorFiles& from, const std::string& name);

  const std::filesystem::path& directory() const { return directory_; }
  const std::filesystem::path& file() const { return file_; }  // what they were opened by: the one file, or the index
  int64_t n_files() const { return int64_t(shards_.size()); }
  bool has(const std::string& name) const { return places_.count(name) != 0; }
  std::vector<std::string> names() const;                        // sorted
  const SafetensorsEntry& entry(const std::string& name) const;  // not_found names the nearest
  std::string file_of(const std::string& name) const;            // name of the shard
  uint64_t bytes() const;                                        // of all tensors
  const std::vector<std::string>& notices() const { return notices_; }

  // A read-only view of the map. What reads through it must end with check_intact(): a file that was cut off or written
  // over meanwhile reads as zeros there, and only this call says so.
  Tensor tensor(const std::string& name) const;
  // Fills `to`, of the stored dtype and in the host's memory, with the rectangle of a tensor's 2-D view that begins at
  // (row, col) and is as large as `to`. Reads these bytes alone, and not through the map. Throws corrupt where the
  // file ends too early.
  void read_part(const std::string& name, int64_t row, int64_t col, const Tensor& to) const;
  uint64_t bytes_read() const;  // by read_part(), so far, of all files
  // Tells sets of tensors apart without reading them: a hash (32 characters) of names, types and shapes, and of the
  // first bytes of kIdentityTensors of them, evenly among the names. However they are cut into files it is the same.
  static constexpr size_t kIdentityTensors = 256, kIdentityBytes = 64;
  std::string identity() const;
  void check_intact() const;  // throws corrupt naming the file that changed since open()

 private:
  struct Place {
    size_t shard = 0;
    const SafetensorsEntry* entry = nullptr;
  };
  void open_single(const std::filesystem::path& file);
  void open_index(const std::filesystem::path& file, const std::string& single);
  const Place& place(const std::string& name) const;

  std::filesystem::path directory_, file_;
  std::vector<std::shared_ptr<const SafetensorsReader>> shards_;
  std::map<std::string, Place> places_;
  std::vector<std::string> notices_;
};

// An index file's content. Exposed for tests and the fuzzer; `where` stands in messages.
struct SafetensorsIndex {
  std::map<std::string, std::string> weight_map;  // tensor -> shard, a plain name
  double total_size = -1;                         // bytes as metadata says; -1: it does not
};
SafetensorsIndex parse_safetensors_index(std::string_view json, const std::string& where);

}  // namespace hadal
