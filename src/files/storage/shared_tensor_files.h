// SharedTensorFiles: tensors that several ranks write together into one file, or into shards where it would be too
// large (shards.h). As with one file (shared_safetensors.h), which bytes go where depends on the list of tensors alone.
#pragma once
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/shared_safetensors.h"

namespace hadal {

class SharedTensorFiles {
 public:
  // All tensors, whole, in their order. Without tensors there are no files.
  SharedTensorFiles(const std::string& stem, const std::vector<SafetensorsEntry>& tensors, uint64_t shard_bytes,
                    const SafetensorsMetadata& metadata = {});

  const std::vector<std::string>& names() const { return names_; }  // of the files, the index not among them
  const std::string& index_name() const { return index_name_; }     // empty: there is one file, or none
  void create(const std::filesystem::path& directory) const;        // all of them, the tensors' bytes zeros
  // Into files that were created; on the disk when it returns. Throws internal for a part that is none of a tensor.
  void write(const std::filesystem::path& directory, const std::vector<TensorPart>& parts) const;

 private:
  std::vector<std::string> names_;
  std::vector<SharedSafetensors> files_;  // by names_
  std::unordered_map<std::string, size_t> file_of_;
  std::string index_name_, index_;
};

}  // namespace hadal
