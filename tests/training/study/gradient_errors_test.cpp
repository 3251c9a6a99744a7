// Gradients against FP64 of the same weights and routes: nothing is between FP64 and itself, FP32 is near, and each
// variant of FP8 is as far off as it is said to be.
#include "study/gradient_errors.h"

#include "base/expect_error.h"
#include "model/small_model.h"
#include "study/variants.h"

namespace hadal {
namespace {

using namespace hadal::testing;

GradientErrors errors_of(const ModelOptions& options, double loss_scale = 1) {
  ModelConfig config = small_config();
  config.init_std = 0.05;
  SmallModel small(config, options);
  GradientReference reference(config, small.owned.exec, make_batch({{70}}, false), 0.3);
  reference.scale_losses(loss_scale);
  return reference.errors_of(small.model);
}

ModelOptions of_variant(const char* name) {
  Config config;
  config.model = small_config();
  const VariantSetup setup = set_up(variant_named(name), config);
  EXPECT_EQ(setup.missing, "");
  return setup.options;
}

TEST(GradientErrors, OfPrecisions) {
  if (kOnDevice) GTEST_SKIP() << "FP64 runs on the CPU";
  EXPECT_EQ(errors_of(training_options(Precision::fp64)).all, 0);
  const GradientErrors fp32 = errors_of(training_options(Precision::fp32));
  EXPECT_GT(fp32.all, 1e-8);
  EXPECT_LT(fp32.all, 1e-5);
  EXPECT_NEAR(fp32.loss, fp32.loss_in_fp64, 1e-6);
  const GradientErrors bf16 = errors_of(of_variant("bf16")), report = errors_of(of_variant("report"));
  EXPECT_GT(bf16.all, 5e-4);
  EXPECT_LT(bf16.all, 0.03);
  EXPECT_GT(report.all, 2 * bf16.all);
  EXPECT_LT(report.all, 0.15);
  for (const char* kind : {"attention.o", "moe.experts.down", "head", "embedding"})
    EXPECT_GT(report.by_kind.at(kind), 1e-3) << kind;
}

// Blocks over tokens, one scale for all, a floor, codes made of codes: each makes gradients worse where it acts.
TEST(GradientErrors, OfVariants) {
  if (kOnDevice) GTEST_SKIP() << "FP8 runs on the CPU";
  const GradientErrors report = errors_of(of_variant("report"));
  for (const char* name : {"dy128", "retiled", "tensor", "output-e4m3", "floor"}) {
    const GradientErrors other = errors_of(of_variant(name));
    EXPECT_NE(other.all, report.all) << name;
    EXPECT_LT(other.all, 0.2) << name;
  }
  // A loss that is a mean over many tokens has gradients below the floor, which loses them.
  EXPECT_NEAR(errors_of(of_variant("report"), 0x1p-40).all, report.all, 1e-3 * report.all);
  EXPECT_GT(errors_of(of_variant("floor"), 0x1p-40).all, 0.5);
}

TEST(Variants, EachIsNamedAndMadeFromItsKeys) {
  const Config config;
  EXPECT_ERROR(variant_named("retild"), ErrorKind::invalid, "did you mean 'retiled'?");
  for (const Variant& variant : variants()) {
    const VariantSetup setup = set_up(variant, config);
    if (!setup.missing.empty()) {
      EXPECT_TRUE(variant.name == "mx" || variant.name == "unpromoted") << variant.name << setup.missing;
      continue;
    }
    EXPECT_TRUE(setup.options.training);
    EXPECT_EQ(setup.options.recipe.router, GemmRecipe()) << variant.name;
    EXPECT_EQ(setup.options.recipe.q_a == GemmRecipe(), variant.name == "bf16");
  }
  Config high;
  high.fp8.high = {"kv_b"};
  const Recipe tensor = set_up(variant_named("tensor"), high).options.recipe;
  EXPECT_EQ(tensor.kv_b, GemmRecipe());
  EXPECT_EQ(tensor.o.weight, kWholeTile);
  EXPECT_EQ(tensor.o.fprop, Format::rounded);
}

}  // namespace
}  // namespace hadal
