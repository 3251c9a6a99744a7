// Training on dialogues: what a micro-batch and its MTP modules learn of the worked examples (§2.2), and that the loss
// is the mean over the trained targets of the global batch however it is divided.
#include <gtest/gtest.h>

#include <cmath>

#include "data/dialogue_testing.h"
#include "data/explain_parts.h"
#include "train/micro_batches.h"
#include "train/small_step.h"
#include "train/step.h"

namespace hadal {
namespace {

using data::DialogueFixture;
using data::letters_of;
using data::messages_line;

std::string targets_of_depth(const MicroBatch& batch, const Tokenizer& tokenizer, int64_t depth) {
  std::vector<int32_t> all(batch.tokens.size(), -1);
  const MtpRows rows = mtp_rows(batch, depth);
  for (size_t i = 0; i < rows.rows.size(); ++i) all[size_t(rows.rows[i])] = rows.batch.targets[i];
  return letters_of(tokenizer, all);
}

MicroBatch micro_batch_of(const std::vector<std::string>& lines, const Tokenizer& tokenizer) {
  DialogueFixture f(lines);
  const data::Prepared p = f.prepare();
  data::Loader loader(p.shards, tokenizer, f.config.data);
  return micro_batches(loader.next(1), 1).front();
}

TEST(DialogueStep, TargetsOfTheMainModelAndOfMtpAreTheTrainedTokensOfTheSample) {
  const Tokenizer t = data::byte_tokenizer();
  const MicroBatch one = micro_batch_of({messages_line({{"system", "st"}, {"user", "qr"}, {"assistant", "ab"}})}, t);
  EXPECT_EQ(letters_of(t, one.tokens), "BstUqrAabE");
  EXPECT_EQ(letters_of(t, one.targets), "------abE-");
  EXPECT_EQ(targets_of_depth(one, t, 1), "-----abE--");
  EXPECT_EQ(targets_of_depth(one, t, 2), "----abE---");
  const MicroBatch turns =
      micro_batch_of({messages_line({{"user", "q"}, {"assistant", "a"}, {"user", "r"}, {"assistant", "b"}})}, t);
  EXPECT_EQ(letters_of(t, turns.tokens), "BUqAaEUrAbE");
  EXPECT_EQ(letters_of(t, turns.targets), "---aE---bE-");
  EXPECT_EQ(targets_of_depth(turns, t, 1), "--aE---bE--");
}

TEST(DialogueStep, WhatExplainShowsIsWhatTheModulesLearn) {
  std::vector<std::string> lines;
  for (int i = 0; i < 9; ++i)
    lines.push_back(
        messages_line({{"user", std::string(size_t(i % 4), 'q')}, {"assistant", std::string(size_t(i), 'a')}}));
  for (const DocumentMask mask : {DocumentMask::document, DocumentMask::none}) {
    DialogueFixture f(lines);
    if (mask == DocumentMask::none)
      f.config.data.sources[0].format = SourceFormat::text, f.config.data.sources[0].text_field = "t";
    if (mask == DocumentMask::none)
      data::write_text(f.directory / "chats.jsonl", "{\"t\": \"abc\"}\n{\"t\": \"defgh\"}\n");
    f.config.data.document_mask = mask;
    const data::Prepared p = f.prepare();
    data::Loader loader(p.shards, p.tokenizer, f.config.data);
    const data::Batch batch = loader.next(1);
    const MicroBatch micro = micro_batches(batch, 1).front();
    const data::Sequence& sequence = batch.sequences[0];
    for (int64_t depth = 0; depth <= 2; ++depth) {
      std::vector<int32_t> shown;
      for (const data::Passage& passage : sequence.passages)
        for (int64_t at = passage.start; at < passage.start + passage.length; ++at)
          shown.push_back(data::target_of(batch, sequence, passage, at, depth));
      EXPECT_EQ(letters_of(p.tokenizer, shown),
                depth == 0 ? letters_of(p.tokenizer, micro.targets) : targets_of_depth(micro, p.tokenizer, depth));
    }
  }
}

TEST(DialogueStep, PackedSamplesHavePositionsSegmentsAndMtpTargetsOfTheirOwn) {
  const Tokenizer t = data::byte_tokenizer();
  const MicroBatch packed = micro_batch_of(
      {messages_line({{"user", "q"}, {"assistant", "a"}}), messages_line({{"user", "r"}, {"assistant", "a"}})}, t);
  ASSERT_EQ(packed.n_tokens(), 12);
  EXPECT_EQ(packed.positions, (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5}));
  ASSERT_EQ(packed.segments.size(), 2u);
  EXPECT_EQ(packed.segments[1].q_begin, 6);
  EXPECT_EQ(packed.segments[1].n_k, 6);
  EXPECT_EQ(letters_of(t, packed.targets), "---aE----aE-");
  EXPECT_EQ(targets_of_depth(packed, t, 1), "--aE----aE--");
  EXPECT_EQ(count_targets({packed}, 2), (std::vector<int64_t>{4, 4, 4}));
}

// Sequences with few and many trained targets, and one with none.
data::Batch uneven_batch() {
  data::Batch batch = testing::batch_of({20, 7, 13, 9, 16}, true);
  const std::vector<int64_t> trained{2, 5, 0, 1, 14};
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    int64_t left = trained[s];
    auto& targets = batch.sequences[s].targets;
    for (size_t i = targets.size(); i-- > 0;)
      if (targets[i] >= 0 && left-- <= 0) targets[i] = -1;
  }
  return batch;
}

TEST(DialogueStep, TheLossIsTheMeanOverTheTrainedTargetsOfTheGlobalBatch) {
  std::vector<double> losses, mtp, norms;
  for (const int64_t each : {5, 2, 1}) {
    auto config = testing::small_config(Precision::fp64);
    config.train.micro_batch_sequences = each;
    testing::Rig s(config);
    const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, uneven_batch(), 1);
    EXPECT_EQ(result.skipped, "");
    EXPECT_EQ(result.targets, 2 + 5 + 0 + 1 + 14);
    losses.push_back(result.loss), mtp.push_back(result.mtp_loss[0]), norms.push_back(result.norms.global);
  }
  for (size_t i = 1; i < losses.size(); ++i) {
    EXPECT_NEAR(losses[i], losses[0], 1e-12 * losses[0]);
    EXPECT_NEAR(mtp[i], mtp[0], 1e-12 * mtp[0]);
    EXPECT_NEAR(norms[i], norms[0], 1e-11 * norms[0]);
  }
  // And it is that mean: of every sequence alone, weighted by its targets.
  double sum = 0;
  int64_t targets = 0;
  const data::Batch whole = uneven_batch();
  for (const data::Sequence& sequence : whole.sequences) {
    data::Batch alone;
    alone.masked = true, alone.sequences = {sequence};
    if (alone.n_targets() == 0) continue;
    auto config = testing::small_config(Precision::fp64);
    config.train.micro_batch_sequences = 1;
    testing::Rig s(config);
    const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, alone, 1);
    sum += result.loss * double(result.targets), targets += result.targets;
  }
  EXPECT_NEAR(losses[0], sum / double(targets), 1e-12 * losses[0]);
}

// Gradients of all parameters, in their order.
std::vector<double> gradients_of(const data::Batch& batch, double& loss, double& mtp) {
  auto config = testing::small_config(Precision::fp64);
  config.train.micro_batch_sequences = 2;
  config.train.balance_alpha = 0;
  testing::Rig s(config);
  const auto result = train_step(s.owned.exec, s.model, s.optimizer, s.config, batch, 1);
  loss = result.loss, mtp = result.mtp_loss[0];
  std::vector<double> all;
  for (const Parameter* parameter : s.model.parameters())
    for (int64_t i = 0; parameter->spec.trained && i < parameter->grad.count(); ++i)
      all.push_back(element(parameter->grad, i));
  return all;
}

TEST(DialogueStep, WeightsOfSourcesMakeAWeightedMean) {
  const data::Batch whole = uneven_batch();
  const float weights[] = {2.0f, 0.5f, 3.0f, 1.0f, 0.25f};
  data::Batch weighted = whole;
  for (size_t s = 0; s < whole.sequences.size(); ++s)
    if (weights[s] != 1.0f) weighted.sequences[s].weights.assign(whole.sequences[s].tokens.size(), weights[s]);
  // What each sequence alone gives, times its targets and weight.
  double losses[2] = {0, 0}, sums[2] = {0, 0};
  for (const int depth : {0, 1}) {
    for (size_t s = 0; s < whole.sequences.size(); ++s) {
      data::Batch alone;
      alone.masked = true, alone.sequences = {whole.sequences[s]};
      const auto counts = count_targets(micro_batches(alone, 1), 1);
      if (counts[size_t(depth)] == 0) continue;
      double of[2];
      gradients_of(alone, of[0], of[1]);
      losses[depth] += weights[s] * double(counts[size_t(depth)]) * of[depth];
      sums[depth] += weights[s] * double(counts[size_t(depth)]);
    }
  }
  double loss = 0, mtp = 0;
  gradients_of(weighted, loss, mtp);
  EXPECT_NEAR(loss, losses[0] / sums[0], 1e-12 * loss);
  EXPECT_NEAR(mtp, losses[1] / sums[1], 1e-12 * mtp);
  // Weight 2 is the sequence twice: the same gradient.
  data::Batch twice = whole, doubled = whole;
  doubled.sequences[1].weights.assign(whole.sequences[1].tokens.size(), 2.0f);
  twice.sequences.push_back(whole.sequences[1]);
  const std::vector<double> a = gradients_of(doubled, loss, mtp), b = gradients_of(twice, loss, mtp);
  double error = 0, norm = 0;
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) error += (a[i] - b[i]) * (a[i] - b[i]), norm += b[i] * b[i];
  EXPECT_GT(norm, 0);
  EXPECT_LE(std::sqrt(error / norm), 1e-12);
}

TEST(DialogueStep, WeightsComeFromTheSources) {
  DialogueFixture f({messages_line({{"user", "q"}, {"assistant", "a"}})});
  data::write_jsonl(f.directory / "text.jsonl", {"some"});
  f.config.data.sources.push_back(data::source_of("text", f.directory / "text.jsonl"));
  f.config.data.sources[1].loss_weight = 0.25;
  const data::Prepared p = f.prepare();
  data::Loader loader(p.shards, p.tokenizer, f.config.data);
  const data::Batch batch = loader.next(1);
  ASSERT_EQ(batch.sequences[0].weights.size(), batch.sequences[0].tokens.size());
  for (const data::Passage& passage : batch.sequences[0].passages)
    for (int64_t i = 0; i + 1 < passage.length; ++i)
      EXPECT_EQ(batch.sequences[0].weights[size_t(passage.start + i)], passage.dialogue ? 1.0f : 0.25f);
  EXPECT_EQ(weigh_targets(micro_batches(batch, 1), 1), (std::vector<double>{2 + 4 * 0.25, 2 + 3 * 0.25}));
}

}  // namespace
}  // namespace hadal
