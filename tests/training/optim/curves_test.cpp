// Curves against values by hand.
#include <gtest/gtest.h>

#include "optim/curves.h"

namespace hadal {
namespace {

TEST(Curves, FollowTheirSegments) {
  const Curve curve = {{CurveShape::linear, 1.0, 10},
                       {CurveShape::constant, 1.0, 0.5},
                       {CurveShape::cosine, 0.1, 0.9},
                       {CurveShape::constant, 0.03, 1.0}};
  const auto at = [&](int64_t step) { return curve_value(curve, 0.0, step, 100); };
  EXPECT_DOUBLE_EQ(at(1), 0.1);
  EXPECT_DOUBLE_EQ(at(10), 1.0);
  EXPECT_DOUBLE_EQ(at(11), 1.0);
  EXPECT_DOUBLE_EQ(at(50), 1.0);
  EXPECT_NEAR(at(70), 0.55, 1e-12);  // middle of the cosine
  EXPECT_NEAR(at(90), 0.1, 1e-12);
  EXPECT_DOUBLE_EQ(at(91), 0.03);
  EXPECT_DOUBLE_EQ(at(1000), 0.03);
  EXPECT_GT(at(60), at(61));
}

TEST(Curves, OfTheReportReachTheirPublishedValues) {
  const auto config = OptimConfig{.lr = 2.2e-4,
                                  .lr_schedule = {{CurveShape::linear, 1.0, 2000},
                                                  {CurveShape::constant, 1.0, 0.6757},
                                                  {CurveShape::cosine, 0.1, 0.9662},
                                                  {CurveShape::constant, 0.1, 0.9887},
                                                  {CurveShape::constant, 0.033182, 1.0}}};
  const int64_t steps = 239000;
  EXPECT_NEAR(learning_rate(config, 1000, steps), 1.1e-4, 1e-9);
  EXPECT_DOUBLE_EQ(learning_rate(config, 2000, steps), 2.2e-4);
  EXPECT_NEAR(learning_rate(config, 232000, steps), 2.2e-5, 1e-9);
  EXPECT_NEAR(learning_rate(config, steps, steps), 7.3e-6, 1e-8);
}

TEST(Curves, BatchRampAndBiasFreeze) {
  TrainConfig config;
  config.steps = 100;
  config.batch_sequences = 10;
  EXPECT_EQ(batch_sequences(config, 1), 10);
  config.batch_ramp = {{CurveShape::constant, 0.2, 2}, {CurveShape::linear, 1.0, 42}};
  EXPECT_EQ(batch_sequences(config, 1), 2);
  EXPECT_EQ(batch_sequences(config, 22), 6);
  EXPECT_EQ(batch_sequences(config, 42), 10);
  EXPECT_EQ(batch_sequences(config, 100), 10);
  config.batch_ramp = {{CurveShape::constant, 0.0, 1.0}};
  EXPECT_EQ(batch_sequences(config, 5), 1);  // never empty
  config.bias_freeze = 0.5;
  EXPECT_DOUBLE_EQ(bias_speed(config, 50), config.bias_update_speed);
  EXPECT_DOUBLE_EQ(bias_speed(config, 51), 0);
}

TEST(Curves, SequencesOfManyStepsAreTheSumOfTheirBatches) {
  TrainConfig config;
  config.steps = 5000;
  config.batch_sequences = 37;
  const std::vector<Curve> ramps = {{},
                                    {{CurveShape::constant, 0.2, 2}, {CurveShape::linear, 1.0, 4200}},
                                    {{CurveShape::linear, 3.0, 0.31},
                                     {CurveShape::cosine, 0.4, 0.62},
                                     {CurveShape::constant, 2.0, 4000},
                                     {CurveShape::linear, 0.0, 1.0}},
                                    {{CurveShape::linear, 2.0, 900},
                                     {CurveShape::linear, 1.0, 1800},
                                     {CurveShape::constant, 1.0, 2000}}};  // comes back to where it was
  for (const auto& ramp : ramps) {
    config.batch_ramp = ramp;
    int64_t left = 0;
    for (int64_t step = config.steps; step >= 1; --step) {
      left += batch_sequences(config, step);
      if (step % 97 == 1) {
        ASSERT_EQ(total_sequences(config, step, config.steps), left) << step;
      }
    }
    EXPECT_EQ(total_sequences(config, 10, 9), 0);
    EXPECT_EQ(total_sequences(config, 7, 7), batch_sequences(config, 7));
  }
}

// Whoever adds up steps one by one does not come back from this.
TEST(Curves, SequencesOfTheLongestRunAreCountedByTheValuesOfItsRamp) {
  TrainConfig config;
  config.steps = int64_t(1) << 40;
  config.batch_sequences = 1000;
  config.batch_ramp = {{CurveShape::constant, 0.5, 0.25}, {CurveShape::linear, 1.0, 0.75}};
  const double per_step = 1000 * (0.25 * 0.5 + 0.5 * 0.75 + 0.25);
  EXPECT_NEAR(double(total_sequences(config, 1, config.steps)) / double(config.steps), per_step, 1e-6 * per_step);
}

TEST(Curves, MtpWeightDropsAsInTheReport) {
  TrainConfig config;
  config.steps = 1000;
  EXPECT_DOUBLE_EQ(mtp_weight(config, 1), 0.3);
  EXPECT_DOUBLE_EQ(mtp_weight(config, 676), 0.3);
  EXPECT_DOUBLE_EQ(mtp_weight(config, 677), 0.1);
}

}  // namespace
}  // namespace hadal
