// The training step: dividing the global batch changes nothing, means are global, NaN makes no update, resources are
// refused early.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/expect_error.h"
#include "base/file_size_limit.h"
#include "base/random.h"
#include "ops/pointwise.h"
#include "train/metrics.h"
#include "train/micro_batches.h"
#include "train/plan.h"
#include "train/resources.h"
#include "train/small_step.h"
#include "train/step.h"
#include "train/train_state.h"
#include "train/validation.h"

namespace hadal {
namespace {

using namespace hadal::testing;

TEST(Step, AccumulationEqualsOneBigBatch) {
  const auto batch = batch_of({20, 7, 13, 1, 16});
  std::vector<double> losses, norms, biases;
  std::vector<std::vector<double>> weights;
  for (int64_t each : {5, 2, 1}) {
    auto config = small_config(Precision::fp64);
    config.train.micro_batch_sequences = each;
    Rig s(config);
    const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, batch, 1);
    EXPECT_EQ(result.skipped, "");
    EXPECT_EQ(result.targets, 19 + 6 + 12 + 0 + 15);
    losses.push_back(result.loss + 10 * result.mtp_loss[0] + 100 * result.balance_loss);
    norms.push_back(result.norms.global);
    weights.emplace_back();
    for (const Parameter* p : s.model.parameters()) {
      for (int64_t i = 0; i < p->master.count(); ++i) weights.back().push_back(element(p->master, i));
    }
  }
  for (size_t i = 1; i < losses.size(); ++i) {
    EXPECT_NEAR(losses[i], losses[0], 1e-12 * std::abs(losses[0]));
    EXPECT_NEAR(norms[i], norms[0], 1e-11 * norms[0]);
    // Adam's first step is a sign: only elements with a gradient near zero could flip, so the weights agree closely.
    for (size_t k = 0; k < weights[0].size(); ++k) ASSERT_NEAR(weights[i][k], weights[0][k], 1e-7) << k;
  }
}

TEST(Step, MaskedPassagesAreSegmentsWithPositionsOfTheirOwn) {
  const auto parts = micro_batches(batch_of({9, 6}, true), 2);
  ASSERT_EQ(parts.size(), 1u);
  ASSERT_EQ(parts[0].segments.size(), 4u);
  EXPECT_EQ(parts[0].segments[1].q_begin, 3);
  EXPECT_EQ(parts[0].segments[1].n_k, 6);
  EXPECT_EQ(parts[0].positions[3], 0);
  EXPECT_EQ(parts[0].sequences.size(), 2u);
  EXPECT_EQ(parts[0].sequences[1].begin, 9);
  const auto plain = micro_batches(batch_of({9, 6}), 2);
  EXPECT_EQ(plain[0].segments.size(), 2u);
  EXPECT_EQ(plain[0].positions[8], 8);
}

TEST(Step, MtpTargetsAreCountedPerDepth) {
  const auto counts = count_targets(micro_batches(batch_of({9, 2, 1}), 3), 2);
  // depth k has a target at position i if i + k + 1 lies in the sequence.
  EXPECT_EQ(counts, (std::vector<int64_t>{8 + 1 + 0, 7, 6}));
}

TEST(Step, ABatchWithoutTargetsIsSkippedWithAReason) {
  Rig s(small_config(Precision::fp32));
  s.config.train.micro_batch_sequences = 1;
  const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, batch_of({1, 1}), 1);
  EXPECT_NE(result.skipped.find("target"), std::string::npos);
  EXPECT_EQ(s.optimizer.steps_done(), 0);
}

TEST(Step, NaNMakesNoUpdateAndNamesItsPlace) {
  auto config = small_config(Precision::fp32);
  config.train.micro_batch_sequences = 2;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const char* name : {"final_norm", "layers.1.attention.o", "layers.1.moe.router"}) {
    Rig s(config);
    auto& parameter = s.model.parameter(name);
    set_element(parameter.master, 0, nan);
    s.model.refresh_values(s.owned.exec);
    const double before = element(s.model.parameter("embedding").master, 7);
    const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, batch_of({12, 12}), 1);
    EXPECT_NE(result.skipped, "") << name;
    EXPECT_EQ(s.optimizer.steps_done(), 0) << name;
    EXPECT_EQ(element(s.model.parameter("embedding").master, 7), before) << name;
  }
}

// In every precision, codes included: the linear that holds it, or the one that made it of what is finite.
TEST(Step, WhatIsNotFiniteIsNamedByLayerAndLinear) {
  for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::fp8}) {
    if (kOnDevice && is_fp8(precision)) continue;  // refused there
    Config config = small_config(precision);
    config.train.micro_batch_sequences = 1;
    for (const char* name : {"layers.0.ffn.down", "layers.1.moe.experts.gate", "layers.1.attention.kv_a"}) {
      Rig s(config, best_isa());
      set_element(s.model.parameter(name).master, 3, std::numeric_limits<float>::quiet_NaN());
      s.model.refresh_values(s.owned.exec);
      const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, batch_of({12}), 1);
      EXPECT_NE(result.skipped.find(std::string(name) + " holds NaN or Inf"), std::string::npos) << result.skipped;
    }
    Rig s(config, best_isa());
    for (const char* name : {"layers.0.ffn.down", "layers.0.ffn.up"}) {
      const Tensor& weights = s.model.parameter(name).master;
      for (int64_t i = 0; i < weights.count(); ++i) set_element(weights, i, 1e25);  // their product is beyond FP32
    }
    s.model.refresh_values(s.owned.exec);
    const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, batch_of({12}), 1);
    EXPECT_NE(result.skipped.find("layers.0.ffn.down is the first linear whose output is not finite"),
              std::string::npos)
        << enum_name(precision) << ": " << result.skipped;
    Rig experts(config, best_isa());
    for (const char* name : {"layers.1.moe.experts.down", "layers.1.moe.experts.up"}) {
      const Tensor& weights = experts.model.parameter(name).master;
      for (int64_t i = 0; i < weights.count(); ++i) set_element(weights, i, 1e25);
    }
    experts.model.refresh_values(experts.owned.exec);
    const auto skipped =
        train_step(experts.owned.exec, experts.model, experts.optimizer, experts.config, batch_of({12}), 1).skipped;
    EXPECT_NE(skipped.find("layers.1.moe.experts.down is the first linear whose output is not finite"),
              std::string::npos)
        << enum_name(precision) << ": " << skipped;
  }
}

TEST(Step, OnlyNumbersThatAreNotFiniteAreSkipped) {
  Rig s(small_config(Precision::fp32));
  s.config.train.micro_batch_sequences = 2;
  auto batch = batch_of({12, 12});
  batch.sequences[0].tokens[3] = 50;  // outside of the vocabulary: a fault, not a bad step
  EXPECT_ERROR(train_step(s.owned.exec, s.model, s.optimizer, s.config, batch, 1), ErrorKind::invalid,
               "token 3 of the micro-batch is 50, vocabulary is 50");
  auto torn = batch_of({12});
  torn.sequences[0].targets.pop_back();
  EXPECT_ERROR(train_step(s.owned.exec, s.model, s.optimizer, s.config, torn, 1), ErrorKind::internal,
               "a sequence of 12 tokens has 11 targets");
  set_element(s.model.parameter("layers.1.moe.router").master, 0, std::numeric_limits<float>::quiet_NaN());
  s.model.refresh_values(s.owned.exec);
  EXPECT_NE(train_step(s.owned.exec, s.model, s.optimizer, s.config, batch_of({12}), 1).skipped.find("router"),
            std::string::npos);
}

TEST(Step, TiedRouterLogitsChooseTheSameExpertsEverywhere) {
  for (const Isa isa : available_isas()) {
    Rig s(small_config(Precision::fp32), isa);
    s.config.train.micro_batch_sequences = 2;
    s.model.parameter("layers.1.moe.router").master.zero();
    s.model.refresh_values(s.owned.exec);
    const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, batch_of({12, 9}), 1);
    EXPECT_EQ(result.skipped, "");
    EXPECT_EQ(result.load[0], (std::vector<int64_t>{21, 21, 0, 0})) << isa_name(isa);  // the lowest ids win ties
  }
}

TEST(Step, TrainsInEveryPrecisionAndForm) {
  for (const Precision precision : {kFinest, Precision::fp32, Precision::bf16}) {
    for (const AttentionForm form : {AttentionForm::up_projected, AttentionForm::absorbed}) {
      auto config = small_config(precision);
      config.train.attention_form = form;
      config.train.micro_batch_sequences = 2;
      config.optim.lr = 0.02;
      Rig s(config, best_isa());
      double first = 0, last = 0;
      for (int64_t step = 1; step <= 10; ++step) {
        const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, batch_of({24, 24}), step);
        ASSERT_EQ(result.skipped, "") << enum_name(precision) << enum_name(form);
        (step == 1 ? first : last) = result.loss;
      }
      EXPECT_LT(last, first - 0.5) << enum_name(precision) << " " << enum_name(form);
    }
  }
}

TEST(Validation, ScoresEveryTokenOnceWhateverTheStride) {
  Rig s(small_config(Precision::fp64));
  std::vector<data::HeldOutDocument> documents(2);
  RandomStream random{8, 8, 0};
  for (int i = 0; i < 40; ++i) documents[0].tokens.push_back(int32_t(random.below(50)));
  for (int i = 0; i < 7; ++i) documents[1].tokens.push_back(int32_t(random.below(50)));
  documents[0].raw_bytes = 100, documents[1].raw_bytes = 20;
  // Windows as long as the text: the plain sum over the document.
  const auto whole = validate_bits_per_byte(s.owned.exec, s.model, documents, {64, 0, 4096});
  EXPECT_EQ(whole.tokens, 39 + 6);
  double nats = 0;
  for (const auto& document : documents) {
    MicroBatch batch;
    const int64_t n = int64_t(document.tokens.size()) - 1;
    batch.tokens.assign(document.tokens.begin(), document.tokens.end() - 1);
    batch.targets.assign(document.tokens.begin() + 1, document.tokens.end());
    for (int64_t i = 0; i < n; ++i) batch.positions.push_back(int32_t(i));
    batch.segments = {{0, n, 0, n}};
    batch.sequences = {{0, n}};
    nats += s.model.forward(s.owned.exec, batch).main;
  }
  EXPECT_NEAR(whole.bits_per_byte, nats / std::log(2.0) / 120, 1e-12);
  for (int64_t stride : {1, 4, 8}) {
    const auto result = validate_bits_per_byte(s.owned.exec, s.model, documents, {8, stride, 20});
    EXPECT_EQ(result.tokens, 45) << stride;
    EXPECT_GT(std::abs(result.bits_per_byte - whole.bits_per_byte), 1e-9) << stride;  // less context is another number
  }
  EXPECT_ERROR(validate_bits_per_byte(s.owned.exec, s.model, {}, {8, 4, 20}), ErrorKind::invalid,
               "no held-out text: raise data.holdout_fraction, or give more text");
}

// An Exec whose kernels are never called.
Exec exec_of(OwnedExec& owned, Isa isa) {
  Exec exec = owned.exec;
  exec.isa = isa;
  return exec;
}

TEST(Resources, ResolveAutomaticValuesAndRefuseWhatCannotFit) {
  auto config = small_config(Precision::automatic);
  config.model.vocab_size = 0;
  config.data.sequence_length = 16;
  config.train.batch_sequences = 6;
  OwnedExec owned(1);
  const Exec avx2 = exec_of(owned, Isa::avx2);
  resolve(config, 77, avx2, uint64_t(1) << 32);
  EXPECT_EQ(config.model.vocab_size, 77);
  EXPECT_EQ(config.train.precision, Precision::fp32);
  EXPECT_EQ(config.train.micro_batch_sequences, 6);
  auto native = small_config(Precision::automatic);
  resolve(native, 50, exec_of(owned, Isa::avx512_bf16), uint64_t(1) << 32);
  EXPECT_EQ(native.train.precision, Precision::bf16);
  auto small = small_config(Precision::fp32);
  EXPECT_ERROR(
      resolve(small, 51, avx2, uint64_t(1) << 32), ErrorKind::invalid,
      "model.vocab_size = 50 is smaller than the tokenizer's 51 ids");  // vocabulary smaller than the tokenizer's
  auto large = small_config(Precision::fp32);
  std::string told;
  EXPECT_ERROR(resolve(large, 50, avx2, 1 << 20, [&](const std::string& text) { told += text; }), ErrorKind::invalid,
               "this run needs about", "are available");
  for (const char* part : {"\nweights and masters ", "\ngradients ", "\nmoments and EMA ", "\ncheckpoint copy "})
    EXPECT_NE(told.find(part), std::string::npos) << part << told;
}

TEST(Resources, PlanTheWorkspaceOfTheThreadsThatAreUsed) {
  const auto config = small_config(Precision::fp32);
  const auto total = [&](int threads) { return plan_memory(config, model_options(config, true), threads).total(); };
  EXPECT_GT(total(64), total(1) + 63 * (256 << 10));
  OwnedExec one(1), many(64);
  auto fits = config;
  resolve(fits, 50, one.exec, uint64_t(total(1)));  // to the byte, whatever this machine grants
  auto tight = config;
  EXPECT_ERROR(resolve(tight, 50, many.exec, uint64_t(total(1))), ErrorKind::invalid, "this run needs about",
               "are available");
}

TEST(State, ComesBackAndRefusesDamage) {
  TrainState state;
  state.step = 7, state.updates = 6, state.tokens = int64_t(1) << 50, state.smoothed_loss = 0.1 + 0.2;
  const auto back = TrainState::from_json(state.to_json(), "state.json");
  EXPECT_EQ(back.step, 7);
  EXPECT_EQ(back.tokens, int64_t(1) << 50);
  EXPECT_EQ(back.smoothed_loss, state.smoothed_loss);
  EXPECT_EQ(back.to_json(), state.to_json());
  for (const char* text : {"", "{}", "[1]", "{\"format\": \"hadal-state-1\"}", "{\"format\": 1}"})
    EXPECT_ERROR(TrainState::from_json(text, "state.json"), ErrorKind::corrupt, "state.json") << text;
  EXPECT_ERROR(TrainState::from_json(std::string(300'000, '[') + std::string(300'000, ']'), "state.json"),
               ErrorKind::corrupt, "state.json: nested deeper than 16 levels");
  for (const char* number : {"1e30", "7.5"}) {
    std::string text = state.to_json();
    text.replace(text.find("\"updates\": 6") + 11, 1, number);
    EXPECT_ERROR(TrainState::from_json(text, "state.json"), ErrorKind::corrupt, "updates is", "wanted an integer");
  }
  state.updates = 8;  // more updates than steps
  EXPECT_ERROR(TrainState::from_json(state.to_json(), "state.json"), ErrorKind::corrupt,
               "state.json: 7 steps, 8 updates");
}

TEST(Metrics, GoOnWhereTheCheckpointStands) {
  const auto path = std::filesystem::temp_directory_path() / ("hadal metrics " + std::to_string(getpid()));
  std::filesystem::remove(path);
  const auto line = [](const char* kind, int64_t step) {
    return nlohmann::ordered_json{{"kind", kind}, {"step", step}, {"final", false}};
  };
  {
    MetricsWriter writer(path, 0);
    for (int64_t step = 1; step <= 4; ++step) writer.write(line("step", step));
    writer.write(line("validation", 2));
  }
  std::ofstream(path, std::ios::app) << "{\"kind\": \"st";  // torn by a kill
  {
    MetricsWriter writer(path, 2);
    writer.write(line("validation", 2));  // already on record
    writer.write(line("step", 3));
    EXPECT_FALSE(writer.failed());
  }
  const auto lines = read_metrics(path);
  ASSERT_EQ(lines.size(), 4u);  // steps 1, 2, the validation, step 3
  EXPECT_EQ(lines[3]["step"], 3);
  EXPECT_EQ(lines[3]["kind"], "step");
  MetricsWriter full(path, 3);
  FileSizeLimit little(1);
  full.write(line("step", 4));  // a full disk: noted, and the run goes on
  little.end();
  EXPECT_TRUE(full.failed());
  full.write(line("step", 5));
  EXPECT_EQ(read_metrics(path).back()["step"], 5);
  std::filesystem::remove(path);
}

TEST(Memory, OfTheLossDoesNotGrowWithTokensTimesVocabulary) {
  // 2 V and 2 S: at most 2.1 times the peak beyond weights and gradients.
  const auto peak = [](int64_t vocab, int64_t length) {
    auto config = small_config(Precision::fp32);
    config.model.vocab_size = vocab;
    config.model.max_positions = 4096;
    config.model.n_mtp = 0;
    OwnedExec owned(2);
    Transformer model(config.model, model_options(config, true), owned.exec);
    model.initialize(owned.exec, 1);
    const auto before = owned.exec.memory->bytes_in_use();
    auto batch = batch_of({length});
    owned.exec.memory->reset_peak();
    LossWeights weights;
    weights.main = 1.0 / double(length);
    model.forward_backward(owned.exec, micro_batches(batch, 1)[0], weights);
    return double(owned.exec.memory->peak_bytes() - before);
  };
  EXPECT_LE(peak(4000, 512), 2.1 * peak(2000, 512));
  EXPECT_LE(peak(2000, 1024), 2.1 * peak(2000, 512));
  EXPECT_LE(peak(50, 2048), 2.1 * peak(50, 1024));
  EXPECT_LE(peak(2000, 2048), 2.1 * peak(2000, 1024));
}

}  // namespace
}  // namespace hadal
