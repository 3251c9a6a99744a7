// When the loss scale grows and falls: the published trace, its limits, its state.
#include "optim/loss_scaler.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/expect_error.h"

namespace hadal {
namespace {

void expect_trace(LossScaler& scaler, const std::string& steps, const std::vector<double>& scales) {
  ASSERT_EQ(steps.size(), scales.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    steps[i] == 'O' ? scaler.overflow() : scaler.clean_step();
    EXPECT_EQ(scaler.scale(), scales[i]) << "after step " << i + 1 << " of " << steps;
  }
}

TEST(LossScaler, FollowsThePublishedTrace) {
  LossScaleConfig config;
  config.growth_steps = 3;
  LossScaler scaler(config);
  expect_trace(scaler, "OOOGGGOGOGGG",
               {65536, 32768, 16384, 16384, 16384, 32768, 32768, 32768, 16384, 16384, 16384, 32768});
  EXPECT_EQ(scaler.state().overflows, 5);
}

TEST(LossScaler, GrowsAfterAThousandCleanStepsInARowUpToItsCap) {
  LossScaler scaler{LossScaleConfig()};
  EXPECT_EQ(scaler.scale(), 65536);
  for (int i = 0; i < 999; ++i) scaler.clean_step();
  EXPECT_EQ(scaler.scale(), 65536);
  scaler.overflow();  // counted alone; the thousand begin anew
  for (int i = 0; i < 999; ++i) scaler.clean_step();
  EXPECT_EQ(scaler.scale(), 65536);
  scaler.clean_step();
  EXPECT_EQ(scaler.scale(), 131072);
  for (int i = 0; i < 20'000; ++i) scaler.clean_step();
  EXPECT_EQ(scaler.scale(), 0x1p24);
}

TEST(LossScaler, IsExhaustedWhenItWouldFallBelowItsFloor) {
  LossScaleConfig config;
  config.initial = 8, config.floor = 4, config.growth_steps = 2;
  LossScaler scaler(config);
  expect_trace(scaler, "OO", {8, 4});
  EXPECT_FALSE(scaler.exhausted());
  scaler.clean_step();
  EXPECT_FALSE(scaler.exhausted());
  scaler.overflow();
  EXPECT_TRUE(scaler.exhausted());
  EXPECT_EQ(scaler.scale(), 4);

  config.initial = config.floor = 1;
  LossScaler at_floor(config);
  at_floor.overflow();
  EXPECT_FALSE(at_floor.exhausted()) << "the hysteresis counts there too";
  at_floor.overflow();
  EXPECT_TRUE(at_floor.exhausted());
}

TEST(LossScaler, GoesOnFromItsStateWithinItsLimits) {
  LossScaleConfig config;
  config.growth_steps = 4;
  LossScaler one(config), other(config);
  expect_trace(one, "OOGGG", {65536, 32768, 32768, 32768, 32768});
  other.set_state(one.state());
  expect_trace(one, "GOO", {65536, 65536, 32768});
  expect_trace(other, "GOO", {65536, 65536, 32768});
  EXPECT_EQ(one.state(), other.state());
  config.cap = 1024, config.hysteresis = 1;
  config.initial = 1024;
  LossScaler narrower(config);
  narrower.set_state({.scale = 65536, .hysteresis_left = 2});
  EXPECT_EQ(narrower.scale(), 1024);
  EXPECT_EQ(narrower.state().hysteresis_left, 1);
  for (const LossScaler::State& wrong : std::vector<LossScaler::State>{{.scale = 3},
                                                                       {.scale = 0},
                                                                       {.scale = std::nan("")},
                                                                       {.scale = -2},
                                                                       {.scale = 2, .clean_steps = -1},
                                                                       {.scale = 2, .hysteresis_left = -1},
                                                                       {.scale = 2, .overflows = -1}})
    EXPECT_ERROR(other.set_state(wrong), ErrorKind::corrupt, "is none that a run leaves behind");
}

TEST(LossScaler, IsForFp16UnlessAskedForAlways) {
  Config config;
  for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp64}) {
    config.train.precision = precision;
    config.loss_scale.use = LossScaleUse::fp16;
    EXPECT_FALSE(LossScaler::is_used(config));
    config.loss_scale.use = LossScaleUse::always;
    EXPECT_TRUE(LossScaler::is_used(config));
  }
  config.train.precision = Precision::fp16, config.loss_scale.use = LossScaleUse::fp16;
  EXPECT_TRUE(LossScaler::is_used(config));
}

}  // namespace
}  // namespace hadal
