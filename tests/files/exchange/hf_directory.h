// A small Hugging Face directory in a temporary folder: every tensor of a model with random values, which a test may
// change, drop or add to before it is written, whole or in shards.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/random.h"
#include "exchange/model_directory.h"
#include "exchange/released_tensors.h"
#include "tensor/quantised.h"

namespace hadal::testing {

inline ModelConfig hf_model() {
  ModelConfig m;
  m.vocab_size = 50;
  m.hidden_size = 24;
  m.n_layers = 2;
  m.n_heads = 2;
  m.q_lora_rank = 12;
  m.kv_lora_rank = 16;
  m.qk_nope_head_dim = 6;
  m.qk_rope_head_dim = 4;
  m.v_head_dim = 8;
  m.dense_ffn_size = 150;  // more than one FP8 block, the second partial
  m.expert_ffn_size = 10;
  m.n_routed_experts = 4;
  m.n_experts_per_token = 2;
  m.n_mtp = 1;
  m.max_positions = 64;
  return m;
}

class HfDirectory : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = (std::filesystem::temp_directory_path() / "hadal hf ü XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    root_ = folder;
    config_.model = hf_model();
    config_.dtype = "float32";
    fill();
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void fill() {
    tensors_.clear();
    uint64_t seed = 1;
    for (const auto& spec : parameter_list(config_.model)) {
      Shape shape = spec.shape;
      if (spec.kind == ParameterKind::routed_expert) shape.erase(shape.begin());
      for (int64_t e = 0; e < spec.n_experts(); ++e) {
        tensors_[spec.hf_name_of(e)] = random(shape, seed++);
      }
    }
  }
  Tensor random(const Shape& shape, uint64_t seed, DType dtype = DType::f32) {
    Tensor tensor = Tensor::empty(owned_.exec, DType::f32, shape);
    RandomStream stream{seed, stream_id("test.hf"), 0};
    for (int64_t i = 0; i < tensor.count(); ++i) tensor.data<float>()[i] = float(0.2 * stream.normal());
    return tensor.to(owned_.exec, dtype);
  }

  void store(DType dtype) {
    for (auto& [name, tensor] : tensors_) tensor = tensor.to(owned_.exec, dtype);
  }
  // As the released models store it: projections in FP8 blocks, the rest BF16.
  void store_fp8(BlockSize block = {}) {
    config_.fp8 = true, config_.fp8_block_rows = block.rows, config_.fp8_block_cols = block.cols;
    config_.dtype = "bfloat16";
    const auto specs = parameter_list(config_.model);
    for (const ParameterSpec& spec : specs) {
      for (int64_t e = 0; e < spec.n_experts(); ++e) {
        Tensor& tensor = tensors_[spec.hf_name_of(e)];
        if (!is_stored_as_fp8(spec)) {
          if (!spec.high_precision) tensor = tensor.to(owned_.exec, DType::bf16);
          continue;
        }
        const Shape shape = tensor.shape();
        Quantised codes = Quantised::empty(owned_.exec, shape, {block.rows, block.cols}, DType::f32);
        quantise(owned_.exec, codes, tensor, AmaxFloor::released);
        tensor = codes.codes;
        tensors_[spec.hf_name_of(e) + "_scale_inv"] = codes.scales;
      }
    }
  }
  // Everything in one file, or in n shards by turns with an index.
  void write(int n_shards = 0) {
    atomic_write(root_ / "config.json", config_json_.empty() ? hf_config_to_json(config_) : config_json_);
    if (n_shards == 0) return save_safetensors(root_ / "model.safetensors", list(0, 1), {{"format", "pt"}});
    index_ = {{"metadata", {{"total_size", 0}}}, {"weight_map", nlohmann::json::object()}};
    int64_t bytes = 0;
    for (int shard = 0; shard < n_shards; ++shard) {
      for (const auto& named : list(shard, n_shards)) {
        index_["weight_map"][named.name] = shard_name(shard);
        bytes += named.tensor.bytes();
      }
      save_safetensors(root_ / shard_name(shard), list(shard, n_shards));
    }
    index_["metadata"]["total_size"] = bytes;
    write_index();
  }
  void write_index() { atomic_write(root_ / "model.safetensors.index.json", json_text(index_, {.indent = 1})); }
  static std::string shard_name(int shard) { return "model-" + std::to_string(shard) + ".safetensors"; }

  // The Error that opening ends with has this kind, and names all of `parts`.
  void refused(ErrorKind kind, const std::vector<std::string>& parts) {
    try {
      open_model(root_);
      ADD_FAILURE() << "accepted; wanted an error with '" << parts.front() << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      for (const auto& part : parts)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << "\n" << error.what();
    }
  }
  Tensor read(const ModelDirectory& from, const std::string& name, DType dtype = DType::f32) {
    for (const auto& spec : from.parameters) {
      if (spec.name != name) continue;
      Tensor value = Tensor::zeros(owned_.exec, dtype, spec.shape);
      from.weights->read(owned_.exec, spec, value);
      return value;
    }
    ADD_FAILURE() << name;
    return {};
  }
  static bool same(const Tensor& a, const Tensor& b) {
    if (a.count() != b.count()) return false;
    for (int64_t i = 0; i < a.count(); ++i)
      if (element(a, i) != element(b, i)) return false;
    return true;
  }

  std::filesystem::path root_;
  OwnedExec owned_{2};
  HfConfig config_;
  std::string config_json_;
  std::map<std::string, Tensor> tensors_;
  nlohmann::json index_;

 private:
  std::vector<NamedTensor> list(int part, int parts) const {
    std::vector<NamedTensor> all;
    int i = 0;
    for (const auto& [name, tensor] : tensors_)
      if (i++ % parts == part) all.push_back({name, tensor});
    return all;
  }
};

}  // namespace hadal::testing
