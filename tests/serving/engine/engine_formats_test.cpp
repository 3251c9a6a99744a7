// The engine over weights in FP8, int8 and int4, and over a cache in FP8: every request gets, to the bit, what it gets
// alone and what the forward of the same formats says of it.
#include <gtest/gtest.h>

#include "base/expect_error.h"

#include "engine/engine_check.h"
#include "model/small_model.h"
#include "model/weight_format.h"
#include "ops/weight.h"

namespace hadal {
namespace {

using testing::small_config;
using testing::SmallModel;

int64_t pack_as(SmallModel& small, WeightFormat format) {
  int64_t count = 0;
  for (Parameter* p : small.model.parameters()) {
    const auto panels = panel_type(p->spec, format, small.model.options().attention_form);
    if (!panels) continue;
    ops::pack(small.owned.exec, p->value, *panels);
    p->master.reset();
    ++count;
  }
  return count;
}

void expect_every_bit(const SmallModel& small, Isa isa, const std::string& what, int64_t requests = 3) {
  const OwnedExec one(1, isa);
  const EngineCheckOptions few{.requests = requests, .prompt_tokens = 80, .text_tokens = 20};
  for (const EngineCondition& c : check_engine(small.owned.exec, &one.exec, small.model, few)) {
    EXPECT_EQ(c.first, "") << c.name << " " << what << " " << isa_name(isa);
    EXPECT_EQ(c.worst, 0) << c.name;
    EXPECT_GT(c.tokens, 20) << c.name;
  }
}

TEST(EngineFormats, KeepEveryBitWhateverElseRuns) {
  for (const auto& [precision, isa] : testing::every_arithmetic()) {
    if (precision == Precision::fp64 || precision == Precision::fp16) continue;  // values alone
    for (const WeightFormat format : {WeightFormat::fp8, WeightFormat::int8, WeightFormat::int4}) {
      for (const testing::Attention& attention : testing::kAttentions) {
        if (attention.form == AttentionForm::up_projected && format != WeightFormat::int4) continue;
        ModelOptions options;
        options.precision = precision, options.attention_form = attention.form, options.weights = format;
        SmallModel small(attention.in(small_config()), options, 2, isa);
        ASSERT_GT(pack_as(small, format), 20);
        expect_every_bit(small, isa, enum_name(format));
      }
    }
  }
}

// Of a latent narrower than a scale's 128 values, and of one wider (wide_config); alone and beside weights in FP8.
TEST(EngineFormats, ACacheInFp8KeepsEveryBitWhateverElseRuns) {
  for (const auto& [precision, isa] : testing::every_arithmetic()) {
    if (precision == Precision::fp64 || precision == Precision::fp16) continue;  // values alone
    ModelOptions options;
    options.precision = precision, options.attention_form = AttentionForm::absorbed, options.cache = CacheFormat::fp8;
    const SmallModel small(small_config(), options, 2, isa);
    expect_every_bit(small, isa, "cache in fp8");
    SmallModel wide(testing::wide_config(), options, 2, isa);
    ASSERT_GT(pack_as(wide, WeightFormat::fp8), 20);
    expect_every_bit(wide, isa, "wide latent, cache and weights in fp8", 2);
  }
}

TEST(EngineFormats, ACacheInFp8TakesTheBytesThatItIsSaidTo) {
  ModelConfig released;
  released.kv_lora_rank = 512, released.qk_rope_head_dim = 64;
  EXPECT_EQ(cache_block_bytes(released, {DType::bf16, false, 61, CacheFormat::values}), 64 * 61 * 1152);
  EXPECT_EQ(cache_block_bytes(released, {DType::bf16, false, 61, CacheFormat::fp8}), 64 * 61 * 656);
  for (const int64_t rank : {12, 128, 132}) {
    ModelConfig config = small_config();
    config.kv_lora_rank = rank;
    ModelOptions options;
    options.attention_form = AttentionForm::absorbed, options.cache = CacheFormat::fp8;
    const SmallModel small(config, options, 1);
    const auto cache = small.model.new_cache(small.owned.exec, 3, true);  // with the MTP module's
    int64_t bytes = 0;
    for (const LayerCache& layer : cache->layers) bytes += layer.latent.bytes() + layer.rope_key.bytes();
    EXPECT_EQ(bytes, 3 * small.model.cache_block_bytes(true)) << rank;
    EXPECT_EQ(small.model.cache_block_bytes(true), 64 * 4 * (rank + (rank > 128 ? 8 : 4) + 2 * 4)) << rank;
  }
}

TEST(EngineFormats, ACacheInFp8IsRefusedByNameWhereItCannotBe) {
  const OwnedExec owned(1);
  ModelOptions options;
  options.cache = CacheFormat::fp8;
  EXPECT_ERROR(Transformer(small_config(), options, owned.exec), ErrorKind::invalid,
               "the up_projected form reads keys and values of every head: choose the absorbed form");
  options.attention_form = AttentionForm::absorbed, options.precision = Precision::fp64;
  EXPECT_ERROR(Transformer(small_config(), options, owned.exec), ErrorKind::unsupported, "fp32 or bf16, not fp64");
  options.precision = Precision::fp32, options.training = true;
  EXPECT_ERROR(Transformer(small_config(), options, owned.exec), ErrorKind::internal, "reads its keys as values");
}

TEST(EngineFormats, RoundWhatTheyAreSaidTo) {
  for (const AttentionForm form : {AttentionForm::absorbed, AttentionForm::up_projected}) {
    for (const ParameterSpec& spec : parameter_list(small_config())) {
      const auto type = [&](WeightFormat format) { return panel_type(spec, format, form); };
      EXPECT_EQ(type(WeightFormat::values), std::nullopt) << spec.name;
      const bool kv_b = spec.name.ends_with("attention.kv_b") && form == AttentionForm::absorbed;
      const bool kept = spec.kind == ParameterKind::norm || spec.kind == ParameterKind::embedding ||
                        spec.kind == ParameterKind::router || spec.kind == ParameterKind::router_bias || kv_b ||
                        spec.kind == ParameterKind::mtp_projection;
      if (spec.kind == ParameterKind::head) {
        EXPECT_EQ(type(WeightFormat::fp8), std::nullopt);
        EXPECT_EQ(type(WeightFormat::int4), PanelType::int8);
      } else if (kept) {
        EXPECT_EQ(type(WeightFormat::int4), std::nullopt) << spec.name;
        EXPECT_EQ(type(WeightFormat::fp8), std::nullopt) << spec.name;
      } else {
        EXPECT_EQ(type(WeightFormat::int4), PanelType::int4) << spec.name;
        EXPECT_EQ(type(WeightFormat::int8), PanelType::int8) << spec.name;
        EXPECT_EQ(type(WeightFormat::stored), PanelType::fp8) << spec.name;
      }
    }
  }
}

}  // namespace
}  // namespace hadal
