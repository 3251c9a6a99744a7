// Loading for use and loading for training give the same model; weights are used where the file lies, nothing is kept
// twice, and a file cut off under a model is an error.
#include "exchange/loaded_model.h"

#include "base/expect_error.h"
#include "config/config_io.h"
#include "exchange/hf_directory.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class LoadedModelTest : public testing::HfDirectory {
 protected:
  static std::vector<double> score(const Exec& exec, const Transformer& model) {
    MicroBatch batch;
    for (int i = 0; i < 20; ++i) {
      batch.tokens.push_back(i * 7 % 50);
      batch.targets.push_back((i + 1) * 7 % 50);
      batch.positions.push_back(i);
    }
    batch.segments = {{0, 20, 0, 20}};
    batch.sequences = {{0, 20}};
    std::vector<double> log_probs;
    model.forward(exec, batch, {.log_probs = &log_probs});
    return log_probs;
  }
};

TEST_F(LoadedModelTest, BareAndTrainingModelsAreTheSame) {
  for (DType stored : {DType::f32, DType::bf16}) {
    for (auto& [name, tensor] : tensors_) tensor = tensor.to(owned_.exec, stored);
    write(2);
    for (const Precision precision : {Precision::fp64, Precision::fp32, Precision::bf16}) {
      LoadOptions options;
      options.precision = precision;
      auto bare = load_model(root_, options, owned_.exec);
      options.training = true;
      auto training = load_model(root_, options, owned_.exec);
      EXPECT_EQ(score(owned_.exec, *bare.transformer), score(owned_.exec, *training.transformer))
          << enum_name(precision);
      for (const Parameter* parameter : bare.transformer->parameters()) {
        const bool wide = parameter->value.dtype != DType::bf16;
        EXPECT_EQ(bool(parameter->master), wide) << parameter->spec.name;
        if (wide) {
          EXPECT_EQ(parameter->master.raw(), parameter->value.plain.raw());
        }
        EXPECT_FALSE(bool(parameter->grad));
      }
      bare.check_intact();
    }
  }
}

TEST_F(LoadedModelTest, WeightsOfTheRightTypeAreTheFileItselfAndMemoryHoldsOnlyTheExperts) {
  for (auto& [name, tensor] : tensors_) tensor = tensor.to(owned_.exec, DType::bf16);
  write();
  Exec exec = owned_.exec;
  exec.memory = MemoryPool::create();
  const auto loaded = load_model(root_, {}, exec);
  EXPECT_EQ(loaded.transformer->options().precision, Precision::bf16);
  int64_t packed = 0, mapped = 0;
  for (const auto& spec : loaded.source.parameters) {
    const Tensor value = loaded.transformer->parameter(spec.name).value.plain;
    const bool in_file = spec.kind != ParameterKind::routed_expert && !spec.high_precision;
    if (in_file) {
      EXPECT_EQ(value.raw(), loaded.source.files->tensor(spec.hf_name).raw()) << spec.name;
    }
    (in_file ? mapped : packed) += value.bytes();
  }
  EXPECT_EQ(loaded.counts.mapped_bytes, mapped);
  EXPECT_EQ(loaded.counts.packed_bytes, packed);
  EXPECT_EQ(int64_t(exec.memory->bytes_in_use()), packed);
  EXPECT_EQ(int64_t(exec.memory->peak_bytes()), packed);
}

// As trained where that is recorded; else as the caller prefers; a cache of latents alone leaves no choice.
TEST_F(LoadedModelTest, TheFormOfAttentionIsThatOfTheTrainingElseTheCallers) {
  write();
  const auto form = [&](const LoadOptions& options) {
    return load_model(root_, options, owned_.exec).transformer->options().attention_form;
  };
  using enum AttentionForm;
  EXPECT_EQ(form({}), up_projected);
  EXPECT_EQ(form({.unrecorded_form = absorbed}), absorbed);
  EXPECT_EQ(form({.attention_form = up_projected, .unrecorded_form = absorbed}), up_projected);
  EXPECT_EQ(form({.cache = CacheFormat::fp8}), absorbed);
  Config trained;
  trained.model = config_.model;
  for (const AttentionForm recorded : {up_projected, absorbed}) {
    trained.train.attention_form = recorded;
    atomic_write(root_ / "config.toml", config_to_toml(trained));
    EXPECT_EQ(form({.unrecorded_form = recorded == absorbed ? up_projected : absorbed}), recorded);
  }
}

TEST_F(LoadedModelTest, AFileCutOffUnderAModelIsAnError) {
  write();
  auto loaded = load_model(root_, {}, owned_.exec);
  fs::resize_file(root_ / "model.safetensors", 4096);
  score(owned_.exec, *loaded.transformer);  // some weights read as zeros now
  EXPECT_ERROR(loaded.check_intact(), ErrorKind::corrupt, "cut off or extended while in use");
}

TEST_F(LoadedModelTest, OurOwnDirectoriesAreReadTheSameWay) {
  write();
  auto hugging_face = load_model(root_, {}, owned_.exec);
  const auto own = root_ / "own";
  fs::create_directory(own);
  fs::copy(root_ / "model.safetensors", own / "model.safetensors");
  atomic_write(own / "model.json", model_config_to_json(config_.model));
  auto ours = load_model(own, {}, owned_.exec);
  EXPECT_FALSE(ours.source.hugging_face);
  EXPECT_EQ(score(owned_.exec, *ours.transformer), score(owned_.exec, *hugging_face.transformer));
  LoadOptions options;
  options.ema = true;
  EXPECT_ERROR(load_model(own, options, owned_.exec), ErrorKind::not_found,
               "neither optimizer.safetensors nor its index is in it; an exported model");
}

}  // namespace
}  // namespace hadal
