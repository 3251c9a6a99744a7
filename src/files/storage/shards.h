// How a list of tensors becomes files: STEM.safetensors, or where that would be too large shards under Hugging Face's
// names, STEM-00001-of-00003.safetensors and so on, with STEM.safetensors.index.json to say which tensor lies in which.
// The cut follows from the list alone, so whoever knows the list knows the files.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace hadal {

constexpr const char* kModelStem = "model";
constexpr uint64_t kShardBytes = 5'000'000'000;  // of tensors, as released models are cut

struct TensorSize {
  std::string name;
  uint64_t bytes = 0;
};

// Runs of at most shard_bytes, in order, by their places in the list; a tensor larger than that stands alone. FP8 codes
// and their scales, which stand behind them, stay together. 0: one run.
std::vector<std::vector<size_t>> cut_shards(const std::vector<TensorSize>& tensors, uint64_t shard_bytes);

std::string tensor_file_name(const std::string& stem, size_t shard, size_t n_shards);  // shard counts from 0
std::string tensor_index_name(const std::string& stem);
bool is_tensor_file(const std::string& name, const std::string& stem);  // one of these, or the index
// What a directory's tensors of this stem are opened by: the index, or the one file; nothing where neither is.
std::optional<std::filesystem::path> tensor_file_in(const std::filesystem::path& directory, const std::string& stem);

// The index's content: tensor to shard, and the bytes of all tensors.
std::string tensor_index_text(const std::map<std::string, std::string>& weight_map, uint64_t total_size);

}  // namespace hadal
