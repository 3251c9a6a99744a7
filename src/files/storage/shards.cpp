#include "storage/shards.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/json.h"

namespace hadal {

namespace {

constexpr const char* kEnding = ".safetensors";

}  // namespace

std::vector<std::vector<size_t>> cut_shards(const std::vector<TensorSize>& tensors, uint64_t shard_bytes) {
  std::vector<std::vector<size_t>> shards(1);
  uint64_t filled = 0;
  for (size_t i = 0; i < tensors.size();) {
    size_t n = 1;  // codes with the scales behind them
    uint64_t bytes = tensors[i].bytes;
    if (i + 1 < tensors.size() && tensors[i + 1].name == tensors[i].name + "_scale_inv")
      bytes += tensors[i + n++].bytes;
    if (shard_bytes > 0 && filled > 0 && filled + bytes > shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    for (size_t k = 0; k < n; ++k) shards.back().push_back(i + k);
    filled += bytes;
    i += n;
  }
  return shards;
}

std::string tensor_file_name(const std::string& stem, size_t shard, size_t n_shards) {
  if (n_shards == 1) return stem + kEnding;
  return fmt::format("{}-{:05d}-of-{:05d}{}", stem, shard + 1, n_shards, kEnding);
}

std::string tensor_index_name(const std::string& stem) { return stem + kEnding + ".index.json"; }

bool is_tensor_file(const std::string& name, const std::string& stem) {
  return name == tensor_index_name(stem) || name == stem + kEnding ||
         (name.starts_with(stem + "-") && name.ends_with(kEnding));
}

std::optional<std::filesystem::path> tensor_file_in(const std::filesystem::path& directory, const std::string& stem) {
  for (const std::string& name : {tensor_index_name(stem), stem + kEnding})
    if (std::filesystem::exists(directory / name)) return directory / name;
  return std::nullopt;
}

std::string tensor_index_text(const std::map<std::string, std::string>& weight_map, uint64_t total_size) {
  const nlohmann::json json = {{"metadata", {{"total_size", total_size}}}, {"weight_map", weight_map}};
  return json_text(json, {.indent = 2}) + "\n";
}

}  // namespace hadal
