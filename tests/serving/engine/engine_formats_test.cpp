// The engine over weights in FP8, int8 and int4: every request gets, to the bit, what it gets alone and what the
// forward of the same weights says of it.
#include <gtest/gtest.h>

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

TEST(EngineFormats, KeepEveryBitWhateverElseRuns) {
  for (const auto& [precision, isa] : testing::every_arithmetic()) {
    if (precision == Precision::fp64) continue;
    for (const WeightFormat format : {WeightFormat::fp8, WeightFormat::int8, WeightFormat::int4}) {
      for (const AttentionForm form : {AttentionForm::absorbed, AttentionForm::up_projected}) {
        if (form == AttentionForm::up_projected && format != WeightFormat::int4) continue;
        ModelOptions options;
        options.precision = precision, options.attention_form = form, options.weights = format;
        SmallModel small(small_config(), options, 2, isa);
        ASSERT_GT(pack_as(small, format), 20);
        const OwnedExec one(1, isa);
        const EngineCheckOptions few{.requests = 3, .prompt_tokens = 80, .text_tokens = 20};
        for (const EngineCondition& c : check_engine(small.owned.exec, &one.exec, small.model, few)) {
          EXPECT_EQ(c.first, "") << c.name << " " << enum_name(format) << " " << isa_name(isa);
          EXPECT_EQ(c.worst, 0) << c.name;
          EXPECT_GT(c.tokens, 20) << c.name;
        }
      }
    }
  }
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
