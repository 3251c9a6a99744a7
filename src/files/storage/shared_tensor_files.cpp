#include "storage/shared_tensor_files.h"

#include "base/error.h"
#include "base/files.h"
#include "storage/shards.h"

namespace hadal {

SharedTensorFiles::SharedTensorFiles(const std::string& stem, const std::vector<SafetensorsEntry>& tensors,
                                     uint64_t shard_bytes, const SafetensorsMetadata& metadata) {
  if (tensors.empty()) return;
  std::vector<TensorSize> sizes;
  uint64_t total = 0;
  for (const SafetensorsEntry& tensor : tensors) {
    sizes.push_back({tensor.name, uint64_t(shape_count(tensor.shape) * dtype_bytes(tensor.dtype))});
    total += sizes.back().bytes;
  }
  const auto cut = cut_shards(sizes, shard_bytes);
  std::map<std::string, std::string> weight_map;
  for (size_t shard = 0; shard < cut.size(); ++shard) {
    names_.push_back(tensor_file_name(stem, shard, cut.size()));
    std::vector<SafetensorsEntry> entries;
    for (const size_t i : cut[shard]) {
      entries.push_back(tensors[i]);
      check(file_of_.emplace(tensors[i].name, shard).second, ErrorKind::internal, "{}: tensor '{}' stands in it twice",
            stem, tensors[i].name);
      weight_map[tensors[i].name] = names_.back();
    }
    files_.emplace_back(std::move(entries), metadata);
  }
  if (cut.size() == 1) return;
  index_name_ = tensor_index_name(stem);
  index_ = tensor_index_text(weight_map, total);
}

void SharedTensorFiles::create(const std::filesystem::path& directory) const {
  for (size_t i = 0; i < files_.size(); ++i) files_[i].create(directory / names_[i]);
  if (!index_name_.empty()) atomic_write(directory / index_name_, index_);
}

void SharedTensorFiles::write(const std::filesystem::path& directory, const std::vector<TensorPart>& parts) const {
  std::vector<std::vector<TensorPart>> of_file(files_.size());
  for (const TensorPart& part : parts) {
    const auto found = file_of_.find(part.name);
    check(found != file_of_.end(), ErrorKind::internal, "{}: a part of '{}', which is in none of its files",
          directory.string(), part.name);
    of_file[found->second].push_back(part);
  }
  for (size_t i = 0; i < files_.size(); ++i)
    if (!of_file[i].empty()) files_[i].write(directory / names_[i], of_file[i]);
}

}  // namespace hadal
