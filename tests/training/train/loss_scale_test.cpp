// Training with a loss scale: in FP32 it changes no bit; in FP16 gradients that overflow skip a step and move nothing,
// are named, and teach the scale; a loss that is not finite teaches it nothing.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <map>

#include "base/expect_error.h"
#include "optim/curves.h"
#include "train/skipped_step.h"
#include "train/small_step.h"
#include "train/train_state.h"

namespace hadal {
namespace {

using namespace hadal::testing;

using State = std::map<std::string, std::vector<uint8_t>>;

// Weights (biases too), values, moments and averages, byte by byte.
State state_of(const Rig& rig) {
  State state;
  const auto put = [&](const std::string& name, const Tensor& tensor) {
    const Tensor host = host_copy(tensor);
    const auto* bytes = static_cast<const uint8_t*>(host.raw());
    state[name].assign(bytes, bytes + host.count() * dtype_bytes(host.dtype()));
  };
  for (const Parameter* p : rig.model.parameters())
    put("master " + p->spec.name, p->master), put("value " + p->spec.name, p->value.plain);
  for (const StateTensor& entry : rig.optimizer.state()) put(entry.name, entry.tensor);
  return state;
}

std::string first_difference(const State& a, const State& b) {
  for (const auto& [name, bytes] : a)
    if (b.at(name) != bytes) return name;
  return "";
}

Config with_everything(Precision precision) {
  Config config = small_config(precision);
  config.train.micro_batch_sequences = 1;
  config.train.steps = 20;  // biases move in the first 19
  config.optim.ema_decay = 0.9;
  config.optim.moments = MomentFormat::bf16;
  config.optim.clip = 0.05;  // below every norm here
  return config;
}

StepResult scaled_step(Rig& rig, LossScaler* scaler, int64_t step, const std::vector<int64_t>& lengths = {12, 9, 14}) {
  return train_step(rig.owned.exec, rig.model, rig.optimizer, rig.config, batch_of(lengths), step, {.scaler = scaler});
}

TEST(LossScale, InFp32ChangesNoBit) {
  for (const Isa isa : {Isa::reference, best_isa()}) {
    for (const double initial : {0x1p12, 0x1p-20}) {
      Config config = with_everything(Precision::fp32);
      Rig plain(config, isa), scaled(config, isa);
      LossScaleConfig scale;
      scale.initial = initial, scale.growth_steps = 2, scale.floor = 0x1p-30;
      LossScaler scaler(scale);
      for (int64_t step = 1; step <= 6; ++step) {
        const StepResult one = scaled_step(plain, nullptr, step), other = scaled_step(scaled, &scaler, step);
        ASSERT_EQ(one.skipped + other.skipped, "");
        EXPECT_EQ(other.loss_scale, initial * double(1 << (step - 1) / 2));
        EXPECT_EQ(one.loss, other.loss);
        EXPECT_EQ(one.mtp_loss, other.mtp_loss);
        EXPECT_EQ(one.balance_loss, other.balance_loss);
        EXPECT_EQ(one.norms.global, other.norms.global);
        EXPECT_EQ(one.norms.per_layer, other.norms.per_layer);
        EXPECT_GT(one.norms.global, config.optim.clip) << "clipping is not seen";
        ASSERT_EQ(first_difference(state_of(plain), state_of(scaled)), "") << "step " << step << " " << isa_name(isa);
      }
    }
  }
}

// The scale begins where the gradients of these losses overflow, and falls until they do not.
TEST(LossScale, OverflowsSkipStepsAndMoveNothingButTheScale) {
  for (const Isa isa : {Isa::reference, best_isa()}) {
    Rig rig(with_everything(Precision::fp16), isa);
    LossScaleConfig scale;
    scale.initial = 0x1p24;
    LossScaler scaler(scale);
    int64_t skips = 0, updates = 0;
    double expected = scale.initial;
    for (int64_t step = 1; step <= 14; ++step) {
      const State before = state_of(rig);
      const StepResult result = scaled_step(rig, &scaler, step);
      const State after = state_of(rig);
      EXPECT_EQ(result.loss_scale, expected) << step;
      EXPECT_EQ(result.lr, learning_rate(rig.config.optim, step, rig.config.train.steps)) << "schedules go on";
      EXPECT_EQ(result.overflowed, !result.skipped.empty());
      if (result.overflowed) {
        if (++skips >= 2) expected /= 2;
        EXPECT_EQ(first_difference(before, after), "") << step;
        EXPECT_NE(result.skipped.find("gradients overflow at a loss scale of"), std::string::npos) << result.skipped;
      } else {
        ++updates;
        for (const char* moved :
             {"master embedding", "value embedding", "master layers.1.moe.bias", "m.head", "v.head", "ema.head"})
          EXPECT_NE(before.at(moved), after.at(moved)) << moved << " at step " << step;
      }
      EXPECT_EQ(rig.optimizer.steps_done(), updates) << "Adam counts updates";
      EXPECT_EQ(result.overflows, skips);
      EXPECT_EQ(scaler.scale(), expected);
    }
    EXPECT_GE(skips, 3) << "nothing overflowed";
    EXPECT_GE(updates, 3) << "the scale never fitted";
  }
}

// The published trace of a scale (O overflow, G clean) in a run: an infinity is put into a gradient where it says O.
TEST(LossScale, FollowsThePublishedTraceWhereOverflowsAreInjected) {
  const std::pair<char, double> trace[] = {{'O', 65536}, {'O', 32768}, {'O', 16384}, {'G', 16384},
                                           {'G', 16384}, {'G', 32768}, {'O', 32768}, {'G', 32768},
                                           {'O', 16384}, {'G', 16384}, {'G', 16384}, {'G', 32768}};
  Config config = with_everything(Precision::fp16);
  Rig rig(config, best_isa()), clean(config, best_isa());
  LossScaleConfig scale;
  scale.growth_steps = 3;
  LossScaler scaler(scale);
  bool inject = false;
  Parameter& spoilt = rig.model.parameter("layers.1.moe.experts.up");
  spoilt.on_complete = [&] {
    if (inject) set_element(spoilt.grad, 5, std::numeric_limits<double>::infinity());
  };
  int64_t step = 0, updates = 0;
  for (const auto& [what, after] : trace) {
    inject = what == 'O';
    const State before = state_of(rig);
    const double used = scaler.scale();
    const StepResult result = scaled_step(rig, &scaler, ++step);
    EXPECT_EQ(result.overflowed, inject) << step << ": " << result.skipped;
    EXPECT_EQ(result.loss_scale, used);
    EXPECT_EQ(scaler.scale(), after) << step;
    if (inject) {
      EXPECT_NE(result.skipped.find("first in layer 1 (layers.1.moe.experts.up)"), std::string::npos) << result.skipped;
      EXPECT_EQ(first_difference(state_of(rig), before), "") << step;
      continue;
    }
    // A run that never overflowed, at that scale: the same norms, moments, averages and biases, to the bit.
    LossScaleConfig same;
    same.initial = used;
    LossScaler constant(same);
    const StepResult wanted = scaled_step(clean, &constant, step);
    EXPECT_EQ(result.norms.global, wanted.norms.global);
    EXPECT_EQ(first_difference(state_of(rig), state_of(clean)), "") << step;
    EXPECT_EQ(rig.optimizer.steps_done(), ++updates);
  }
}

TEST(LossScale, AnOverflowIsNamedByTensorAndLayer) {
  // What the backward pass meets above layer 0's attention is finite; below o_proj of layer 0 it is not.
  Rig rig(with_everything(Precision::fp16), best_isa());
  auto& o = rig.model.parameter("layers.0.attention.o");
  for (int64_t i = 0; i < o.master.count(); ++i) set_element(o.master, i, element(o.master, i) * 4000);
  rig.model.refresh_values(rig.owned.exec);
  LossScaleConfig scale;
  scale.initial = 0x1p18;
  LossScaler scaler(scale);
  const StepResult result = scaled_step(rig, &scaler, 1);
  EXPECT_TRUE(result.overflowed) << result.skipped;
  EXPECT_EQ(result.norms.not_finite.layer, 0);
  EXPECT_EQ(result.norms.not_finite.parameter, "layers.0.attention.kv_b");
  EXPECT_NE(result.skipped.find("first in layer 0 (layers.0.attention.kv_b)"), std::string::npos) << result.skipped;
}

TEST(LossScale, ALossThatIsNotFiniteIsNoOverflowOfGradients) {
  Config config = with_everything(Precision::fp16);
  config.model.n_mtp = 0;  // whose router would meet it before the loss
  Rig rig(config, best_isa());
  auto& head = rig.model.parameter("head");
  for (int64_t i = 0; i < head.master.count(); ++i) set_element(head.master, i, 6e4);
  auto& norm = rig.model.parameter("final_norm");
  for (int64_t i = 0; i < norm.master.count(); ++i) set_element(norm.master, i, 1e5);  // beyond FP16 in the forward
  rig.model.refresh_values(rig.owned.exec);
  LossScaler scaler{LossScaleConfig()};
  const LossScaler::State before = scaler.state();
  const State weights = state_of(rig);
  const StepResult result = scaled_step(rig, &scaler, 1);
  EXPECT_FALSE(result.overflowed);
  EXPECT_EQ(
      result.skipped,
      "the loss is not finite: final_norm is the first that is not finite; this came up in the forward, before any "
      "gradient, so that no loss scale cures it: it stays 65536");
  EXPECT_EQ(scaler.state(), before);
  EXPECT_EQ(first_difference(state_of(rig), weights), "");
}

TEST(LossScale, SkipsOfTheScaleEndARunAtItsFloorAlone) {
  Config config = with_everything(Precision::fp16);
  config.train.on_nan = OnNan::stop, config.train.max_skips = 0;
  config.loss_scale.initial = config.loss_scale.floor = 4;
  LossScaler scaler(config.loss_scale);
  TrainState state;
  StepResult result;
  result.step = 7, result.loss_scale = 4, result.overflowed = true;
  result.skipped = "gradients overflow at a loss scale of 4, first in layer 3 (layers.3.moe.experts.up)";
  scaler.overflow();
  EXPECT_EQ(judge_step(config, result, &scaler, state),
            "step 7 skipped: " + result.skipped + "; it stays, an overflow from now on lowers it");
  EXPECT_EQ(state.skipped_in_row, 0);
  scaler.overflow();
  EXPECT_ERROR(judge_step(config, result, &scaler, state), ErrorKind::failed, "step 7: gradients overflow",
               "layers.3.moe.experts.up", "loss_scale.floor = 4 forbids a smaller one");
  result.overflowed = false, result.skipped = "the loss is not finite";
  EXPECT_ERROR(judge_step(config, result, &scaler, state), ErrorKind::failed, "train.on_nan");
}

TEST(LossScale, IsPartOfACheckpointsState) {
  TrainState state;
  state.step = 5, state.updates = 3;
  EXPECT_EQ(state.to_json().find("loss_scale"), std::string::npos) << "runs without a scale keep their bytes";
  state.loss_scale = LossScaler::State{.scale = 32768, .clean_steps = 17, .hysteresis_left = 1, .overflows = 4};
  const std::string text = state.to_json();
  EXPECT_EQ(TrainState::from_json(text, "state.json").loss_scale, state.loss_scale);
  std::string wrong = text;
  wrong.replace(wrong.find("32768.0"), 7, "\"a\"");
  EXPECT_ERROR(TrainState::from_json(wrong, "state.json"), ErrorKind::corrupt, "scale of the loss scale is \"a\"");
}

TEST(LossScale, Fp16TrainsAsFp32Does) {
  double last[2];
  for (const Precision precision : {Precision::fp32, Precision::fp16}) {
    Config config = small_config(precision);
    config.train.micro_batch_sequences = 2;
    config.optim.lr = 0.02;
    Rig rig(config, best_isa());
    LossScaler scaler{LossScaleConfig()};
    for (int64_t step = 1; step <= 10; ++step) {
      const auto result = scaled_step(rig, precision == Precision::fp16 ? &scaler : nullptr, step, {24, 24});
      ASSERT_EQ(result.skipped, "");
      last[precision == Precision::fp16] = result.loss;
    }
  }
  EXPECT_NEAR(last[1], last[0], 0.02 * last[0]);
}

}  // namespace
}  // namespace hadal
