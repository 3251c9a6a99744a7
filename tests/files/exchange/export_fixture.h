// A small model's directory with known weights, and exports of it, in a temporary folder.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/random.h"
#include "exchange/exporter.h"

namespace hadal {

inline ModelConfig export_model() {
  ModelConfig m;
  m.vocab_size = 70;
  m.hidden_size = 32;
  m.n_layers = 2;
  m.n_heads = 2;
  m.q_lora_rank = 24;
  m.kv_lora_rank = 32;
  m.qk_nope_head_dim = 8;
  m.qk_rope_head_dim = 4;
  m.v_head_dim = 8;
  m.dense_ffn_size = 150;  // more than one FP8 block, the second partial
  m.expert_ffn_size = 32;
  m.n_routed_experts = 4;
  m.n_experts_per_token = 2;
  m.n_mtp = 1;
  m.max_positions = 64;
  return m;
}

class ExportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = (std::filesystem::temp_directory_path() / "hadal expört XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    root_ = folder;
    write_model(root_ / "model", export_model());
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write_model(const std::filesystem::path& directory, const ModelConfig& model) {
    make_directories(directory);
    HfConfig config;
    config.model = model;
    config.dtype = "float32";
    atomic_write(directory / "config.json", hf_config_to_json(config));
    std::vector<NamedTensor> tensors;
    uint64_t seed = 1;
    for (const auto& spec : parameter_list(model)) {
      Shape shape = spec.shape;
      if (spec.kind == ParameterKind::routed_expert) shape.erase(shape.begin());
      for (int64_t e = 0; e < spec.n_experts(); ++e) tensors.push_back({spec.hf_name_of(e), random(shape, seed++)});
    }
    save_safetensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
  }

  Tensor random(const Shape& shape, uint64_t seed, double scale = 0.1) {
    Tensor tensor = Tensor::empty(owned_.exec, DType::f32, shape);
    RandomStream stream{seed, stream_id("test.export"), 0};
    for (int64_t i = 0; i < tensor.count(); ++i) tensor.data<float>()[i] = float(scale * stream.normal());
    return tensor;
  }

  ExportSource source() const { return ExportSource(open_model(root_ / "model")); }
  static ExportPlan hf(const ExportSource& source, const std::string& dtype, uint64_t shard_bytes = 0) {
    return plan_hf(source, {dtype, shard_bytes});
  }
  ExportOutcome run(const ExportSource& source, const ExportPlan& plan, const std::string& name,
                    uint64_t free_bytes = uint64_t(1) << 40) {
    return write_export(owned_.exec, source, plan, {root_ / name, free_bytes, true});
  }
  // The message of the Error that an export into `name` ends with; "" if it does not.
  std::string refusal(const ExportPlan& plan, const std::string& name, ErrorKind kind,
                      uint64_t free_bytes = uint64_t(1) << 40) {
    try {
      run(source(), plan, name, free_bytes);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    return "";
  }
  // Names and contents of a directory's files.
  std::map<std::string, std::string> contents(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& item : std::filesystem::directory_iterator(root_ / name))
      files[item.path().filename().string()] = read_file(item.path());
    return files;
  }

  OwnedExec owned_{2};
  std::filesystem::path root_;
};

}  // namespace hadal
