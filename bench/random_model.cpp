// How random models are written.
#include "bench/random_model.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "arch/arch.h"
#include "base/bf16.h"
#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "base/system_info.h"
#include "exchange/hf_config.h"
#include "storage/safetensors.h"

namespace hadal::bench {
namespace {

namespace fs = std::filesystem;

// As released models have them: experts one by one, in the order of the list; biases in F32.
std::vector<SafetensorsEntry> entries_of(const ModelConfig& config) {
  std::vector<SafetensorsEntry> entries;
  for (const ParameterSpec& spec : parameter_list(config)) {
    const bool experts = spec.kind == ParameterKind::routed_expert;
    const DType dtype = spec.kind == ParameterKind::router_bias ? DType::f32 : DType::bf16;
    const Shape shape(spec.shape.begin() + experts, spec.shape.end());
    for (int64_t e = 0; e < spec.n_experts(); ++e) entries.push_back({spec.hf_name_of(e), dtype, shape});
  }
  return entries;
}

int64_t count_of(const SafetensorsEntry& entry) {
  int64_t count = 1;
  for (const int64_t n : entry.shape) count *= n;
  return count;
}

// Values of any tensor: a run of numbers over and over, from a random place in it.
class Values {
 public:
  explicit Values(int64_t longest) : normal_(size_t(longest + kRun)), ones_(size_t(kLongestVector), bf16(1.0f)) {
    const uint64_t stream = stream_id("bench.model");
    for (int64_t i = 0; i < kRun; ++i) normal_[size_t(i)] = bf16(float(0.02 * random_normal(1, stream, uint64_t(i))));
    for (size_t i = size_t(kRun); i < normal_.size(); ++i) normal_[i] = normal_[i - size_t(kRun)];
  }
  Tensor of(const SafetensorsEntry& entry) {
    if (entry.dtype == DType::f32) return Tensor::wrap(zeros_.data(), entry.dtype, entry.shape);
    if (entry.shape.size() == 1) return Tensor::wrap(ones_.data(), entry.dtype, entry.shape);
    return Tensor::wrap(normal_.data() + random_.below(kRun), entry.dtype, entry.shape);
  }

 private:
  static constexpr int64_t kRun = 1'048'583;  // a prime: rows of a matrix differ
  static constexpr int64_t kLongestVector = 1 << 16;
  std::vector<bf16> normal_, ones_;
  std::vector<float> zeros_ = std::vector<float>(size_t(kLongestVector));
  RandomStream random_{1, stream_id("bench.model.places"), 0};
};

}  // namespace

ModelConfig serving_config() {
  ModelConfig c;
  c.vocab_size = 32768, c.hidden_size = 2048, c.n_layers = 8, c.n_dense_layers = 1, c.n_heads = 16;
  c.q_lora_rank = 768, c.kv_lora_rank = 512;
  c.qk_nope_head_dim = 128, c.qk_rope_head_dim = 64, c.v_head_dim = 128;
  c.dense_ffn_size = 6144, c.expert_ffn_size = 1024;
  c.n_routed_experts = 64, c.n_shared_experts = 1, c.n_experts_per_token = 8, c.n_groups = 8, c.n_limited_groups = 4;
  c.max_positions = 16384;
  return c;
}

void write_random_model(const fs::path& folder, const ModelConfig& config, uint64_t shard_bytes) {
  HfConfig hf;
  hf.model = config;
  std::vector<SafetensorsEntry> entries = entries_of(config);
  std::vector<TensorSize> sizes;
  int64_t longest = 0;
  uint64_t total = 0;
  for (const SafetensorsEntry& entry : entries) {
    longest = std::max(longest, count_of(entry));
    sizes.push_back({entry.name, uint64_t(count_of(entry) * dtype_bytes(entry.dtype))});
    total += sizes.back().bytes;
  }
  check(free_disk_bytes(folder) > total + (total >> 3), ErrorKind::io, "{}: {} bytes do not fit", folder.string(),
        total);
  const auto shards = cut_shards(sizes, shard_bytes);
  Values values(longest);
  std::map<std::string, std::string> map;
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    const std::string file = tensor_file_name(kModelStem, shard, shards.size());
    std::vector<SafetensorsEntry> held;
    for (const size_t i : shards[shard]) held.push_back(entries[i]);
    SafetensorsWriter writer(folder / file, held, {{"format", "pt"}});
    for (const SafetensorsEntry& entry : writer.entries()) {
      writer.write(entry.name, values.of(entry));
      map[entry.name] = file;
    }
    writer.commit();
  }
  if (shards.size() > 1) atomic_write(folder / tensor_index_name(kModelStem), tensor_index_text(map, total));
  atomic_write(folder / "config.json", hf_config_to_json(hf));
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "hadal bench XXXXXX").string();
  check(mkdtemp(name.data()) != nullptr, ErrorKind::io, "cannot make {}", name);
  path = name;
}
TemporaryFolder::~TemporaryFolder() { fs::remove_all(path); }

}  // namespace hadal::bench
