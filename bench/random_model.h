// A random model as a Hugging Face directory: what benches of loading and serving read.
#pragma once
#include <cstdint>
#include <filesystem>

#include "config/model_config.h"
#include "storage/shards.h"

namespace hadal::bench {

// 3 billion weights: hidden 2048, 8 layers (1 dense of 6144), 64 experts of 1024 in 8 groups, 8 chosen of 4 groups, 1
// shared, q_lora 768, kv_lora 512, 16 heads of 128 + 64 / 128, vocabulary 32768.
ModelConfig serving_config();

// config.json and weights in BF16, normal numbers of deviation 0.02; norms are 1 and selection biases 0, so that tokens
// choose their experts by what they are. The numbers repeat (with a prime period): as good as fresh ones for speed, and
// there in seconds. Throws io where the disk is too full.
void write_random_model(const std::filesystem::path& folder, const ModelConfig& config,
                        uint64_t shard_bytes = kShardBytes);

// A folder that is there as long as this is.
struct TemporaryFolder {
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::filesystem::path path;
};

}  // namespace hadal::bench
