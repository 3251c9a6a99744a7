// Models whose weights stay FP8 as they are stored, or are rounded on load: codes reach products as they lie in the
// file, memory is what was said, and what cannot be is refused by name.
#include <cmath>

#include "base/expect_error.h"
#include "config/config_io.h"
#include "exchange/hf_directory.h"
#include "exchange/loaded_model.h"
#include "exchange/released_tensors.h"
#include "kernels/gemm_panels.h"

namespace hadal {
namespace {

class WeightFormatsTest : public testing::HfDirectory {
 protected:
  static LoadOptions as(WeightFormat weights, Precision precision = Precision::fp32) {
    LoadOptions options;
    options.precision = precision, options.weights = weights;
    return options;
  }
  std::vector<double> score(const LoadOptions& options) const {
    const auto loaded = load_model(root_, options, owned_.exec);
    MicroBatch batch;
    for (int i = 0; i < 20; ++i) {
      batch.tokens.push_back(i * 7 % 50), batch.targets.push_back((i + 1) * 7 % 50), batch.positions.push_back(i);
    }
    batch.segments = {{0, 20, 0, 20}};
    batch.sequences = {{0, 20}};
    std::vector<double> log_probs;
    loaded.transformer->forward(owned_.exec, batch, {.log_probs = &log_probs});
    return log_probs;
  }
  static double distance(const std::vector<double>& a, const std::vector<double>& b) {
    double worst = 0;
    for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(a[i] - b[i]));
    return a.size() == b.size() && !a.empty() ? worst : INFINITY;
  }
};

TEST_F(WeightFormatsTest, CodesReachTheProductsAsTheyAreStored) {
  store_fp8();
  write(2);
  const auto loaded = load_model(root_, as(WeightFormat::stored, Precision::bf16), owned_.exec);
  const int64_t width = kernels::gemm_panel_cols(owned_.exec.isa);
  int64_t codes_seen = 0;
  for (const ParameterSpec& spec : loaded.source.parameters) {
    const Weight& value = loaded.transformer->parameter(spec.name).value;
    ASSERT_EQ(value.has(WeightForm::panels), is_stored_as_fp8(spec)) << spec.name;
    if (!is_stored_as_fp8(spec)) continue;
    EXPECT_FALSE(value.has(WeightForm::plain) || value.has(WeightForm::codes)) << spec.name;
    EXPECT_EQ(value.dtype, DType::bf16);  // of the values meant
    for (int64_t e = 0; e < spec.n_experts(); ++e) {
      const Tensor& stored = tensors_[spec.hf_name_of(e)];
      const auto* panels = static_cast<const uint8_t*>(value.panels.elements.row_range(e, 1).raw());
      for (int64_t n = 0; n < stored.dim(0); ++n) {
        for (int64_t k = 0; k < stored.dim(1); ++k, ++codes_seen) {
          ASSERT_EQ(kernels::panel_code(panels, k, n, stored.dim(1), width),
                    static_cast<const uint8_t*>(stored.raw())[n * stored.dim(1) + k])
              << spec.name;
        }
      }
      const Tensor& scales = tensors_[spec.hf_name_of(e) + "_scale_inv"];
      ASSERT_EQ(std::memcmp(value.panels.scales.row_range(e, 1).raw(), scales.raw(), size_t(scales.bytes())), 0);
    }
  }
  EXPECT_GT(codes_seen, 10000);
}

TEST_F(WeightFormatsTest, StoredCodesScoreAsTheirValuesDo) {
  store_fp8();
  write();
  for (const AttentionForm form : {AttentionForm::absorbed, AttentionForm::up_projected}) {
    LoadOptions values = as(WeightFormat::values), stored = as(WeightFormat::stored);
    values.attention_form = stored.attention_form = form;
    const double error = distance(score(values), score(stored));
    EXPECT_LT(error, 2e-5);
    EXPECT_GT(error, 0);  // other sums: it is another way indeed
  }
}

TEST_F(WeightFormatsTest, RoundedWeightsScoreNearTheirValues) {
  write();
  const auto values = score(as(WeightFormat::values));
  EXPECT_EQ(score(as(WeightFormat::stored)), values);  // of a model without FP8 the same
  const double int8 = distance(score(as(WeightFormat::int8)), values),
               int4 = distance(score(as(WeightFormat::int4)), values);
  const double fp8 = distance(score(as(WeightFormat::fp8)), values);
  EXPECT_LT(int8, 0.05);
  EXPECT_LT(fp8, 0.1);
  EXPECT_LT(int4, 1.0);
  EXPECT_GT(int8, 0);
  EXPECT_GT(fp8, 0);
  EXPECT_GT(int4, std::max(int8, fp8));
}

TEST_F(WeightFormatsTest, MemoryIsWhatTheFormatTakes) {
  config_.model.hidden_size = 64, config_.model.expert_ffn_size = 96;
  fill();
  write();
  for (const auto& [format, bits] : {std::pair{WeightFormat::int8, 8.5}, {WeightFormat::int4, 4.5}}) {
    Exec exec = owned_.exec;
    exec.memory = MemoryPool::create();
    const auto loaded = load_model(root_, as(format, Precision::bf16), exec);
    const Weight& experts = loaded.transformer->parameter("layers.1.moe.experts.gate").value;
    EXPECT_EQ(experts.bytes(), int64_t(bits * 4 * 96 * 64 / 8));
    EXPECT_EQ(int64_t(exec.memory->bytes_in_use()), loaded.counts.packed_bytes);
    int64_t all = 0;
    for (const Parameter* p : loaded.transformer->parameters()) all += p->value.bytes();
    EXPECT_EQ(loaded.counts.packed_bytes + loaded.counts.mapped_bytes, all);
  }
}

TEST_F(WeightFormatsTest, ANanAmongTheCodesIsANanInWhatIsMadeOfThem) {
  store_fp8();
  static_cast<uint8_t*>(tensors_["model.layers.0.mlp.gate_proj.weight"].raw())[5] = 0x7f;
  write();
  for (const double value : score(as(WeightFormat::stored))) EXPECT_TRUE(std::isnan(value));
}

TEST_F(WeightFormatsTest, BlocksOfAnotherSizeAreReadAsValues) {
  store_fp8({64, 32});
  write();
  const auto loaded = load_model(root_, as(WeightFormat::stored), owned_.exec);
  EXPECT_TRUE(loaded.transformer->parameter("layers.0.ffn.gate").value.has(WeightForm::plain));
  EXPECT_EQ(score(as(WeightFormat::stored)), score(as(WeightFormat::values)));
}

TEST_F(WeightFormatsTest, StoredCodesAreValuesInFp64) {
  store_fp8();
  write();
  EXPECT_EQ(score(as(WeightFormat::stored, Precision::fp64)), score(as(WeightFormat::values, Precision::fp64)));
}

TEST_F(WeightFormatsTest, WhatCannotBeIsRefusedByName) {
  write();
  EXPECT_ERROR(load_model(root_, as(WeightFormat::int8, Precision::fp64), owned_.exec), ErrorKind::unsupported,
               "weights in int8 are for the CPU, in fp32 or bf16; on the CPU in F64 they are values");
  LoadOptions average = as(WeightFormat::int4);
  average.ema = true;
  EXPECT_ERROR(load_model(root_, average, owned_.exec), ErrorKind::unsupported,
               "the moving average of the weights is read as values, not in int4");
}

}  // namespace
}  // namespace hadal
