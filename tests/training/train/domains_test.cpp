// Losses by domain: they add up to the whole without rounding, whatever the micro-batches.
#include <gtest/gtest.h>

#include <cmath>

#include "train/micro_batches.h"
#include "train/small_step.h"
#include "train/step.h"
#include "train/validation.h"

namespace hadal {
namespace {

using namespace hadal::testing;

// Every third target is of domain 0, the others of domain 2; of domain 1 there is none.
data::Batch batch_of_domains(bool weighted) {
  data::Batch batch = batch_of({20, 7, 13, 1, 16});
  for (data::Sequence& sequence : batch.sequences)
    for (size_t i = 0; i < sequence.targets.size(); ++i) {
      sequence.domains.push_back(i % 3 == 0 ? 0 : 2);
      if (weighted) sequence.weights.push_back(i % 3 == 0 ? 0.3f : 1.7f);
    }
  return batch;
}

StepResult step_of(const data::Batch& batch, int64_t each, Precision precision = Precision::fp32) {
  auto config = small_config(precision);
  config.train.micro_batch_sequences = each;
  Rig rig(config);
  return train_step(rig.owned.exec, rig.model, rig.optimizer, rig.config, batch, 1);
}

TEST(DomainLosses, AreThoseOfTheirTargetsAlone) {
  for (const bool weighted : {false, true}) {
    const data::Batch batch = batch_of_domains(weighted);
    const StepResult all = step_of(batch, 2, Precision::fp64);
    ASSERT_EQ(all.domains.size(), 3u);
    EXPECT_EQ(all.domains[1].targets, 0);
    EXPECT_EQ(all.domains[0].targets + all.domains[2].targets, all.targets);
    double sum = 0, weights = 0;
    for (const size_t d : {0, 2}) {
      data::Batch of_one = batch;  // the others have no target there
      for (data::Sequence& sequence : of_one.sequences) {
        for (size_t i = 0; i < sequence.targets.size(); ++i)
          if (sequence.domains[i] != int32_t(d)) sequence.targets[i] = -1;
        sequence.domains.clear();
      }
      const StepResult alone = step_of(of_one, 2, Precision::fp64);
      EXPECT_EQ(alone.targets, all.domains[d].targets);
      EXPECT_NEAR(alone.loss, all.domains[d].loss, 1e-12);
      const double weight = double(alone.targets) * (!weighted ? 1 : d == 0 ? 0.3f : 1.7f);
      sum += weight * all.domains[d].loss, weights += weight;
    }
    EXPECT_NEAR(sum / weights, all.loss, 1e-12);
    EXPECT_GT(std::abs(all.domains[0].loss - all.domains[2].loss), 1e-3) << "two means of one set would be equal";
  }
}

TEST(DomainLosses, AndTheWholeHaveTheSameBitsHoweverTheBatchIsCut) {
  const data::Batch batch = batch_of_domains(true);
  const StepResult whole = step_of(batch, 5);
  for (const int64_t each : {1, 2, 3}) {
    const StepResult cut = step_of(batch, each);
    EXPECT_EQ(cut.loss, whole.loss) << each;
    for (const size_t d : {0, 2}) EXPECT_EQ(cut.domains[d].loss, whole.domains[d].loss) << each;
  }
}

TEST(DomainLosses, OfOneDomainAreNotTold) { EXPECT_TRUE(step_of(batch_of({20, 7}), 1).domains.empty()); }

TEST(ValidationDomains, AddUpToTheWholeAndHaveTheirOwnLoads) {
  Rig rig(small_config(Precision::fp32));
  std::vector<data::HeldOutDocument> documents(5);
  RandomStream random{8, 8, 0};
  for (size_t d = 0; d < documents.size(); ++d) {
    for (size_t i = 0; i < 7 + 9 * d; ++i) documents[d].tokens.push_back(int32_t(random.below(50)));
    documents[d].raw_bytes = int64_t(20 + d), documents[d].source = int64_t(d % 3);
  }
  const data::Domains domains{{"one", "two"}, {0, 1, 0}};
  const auto validated = [&](const std::vector<data::HeldOutDocument>& read, const data::Domains& by) {
    ValidationOptions options{16, 8, 40};
    options.domains = by;
    return validate_bits_per_byte(rig.owned.exec, rig.model, read, options);
  };
  const ValidationResult all = validated(documents, domains), untold = validated(documents, {});
  ASSERT_EQ(all.domains.size(), 2u);
  EXPECT_TRUE(untold.domains.empty());
  EXPECT_EQ(all.loss, untold.loss) << "the sum is exact: other forwards change no bit";
  EXPECT_EQ(all.bits_per_byte, untold.bits_per_byte);
  int64_t tokens = 0, bytes = 0;
  double nats = 0;
  for (size_t d = 0; d < 2; ++d) {
    std::vector<data::HeldOutDocument> own;
    for (const auto& document : documents)
      if (domains.of_source[size_t(document.source)] == int32_t(d)) own.push_back(document);
    const ValidationResult alone = validated(own, {});
    EXPECT_EQ(alone.loss, all.domains[d].loss);
    EXPECT_EQ(alone.bits_per_byte, all.domains[d].bits_per_byte);
    EXPECT_EQ(alone.tokens, all.domains[d].tokens);
    tokens += alone.tokens, bytes += all.domains[d].bytes, nats += alone.loss * double(alone.tokens);
    // Each row of a window visits two experts of each layer; MTP's has fewer rows.
    int64_t rows = 0;
    for (const auto& window : data::scoring_windows(own, 16, 8)) rows += window.end - window.begin;
    ASSERT_FALSE(all.domains[d].load.empty());
    int64_t visits = 0;
    for (const int64_t load : all.domains[d].load[0]) visits += load;
    EXPECT_EQ(visits, 2 * rows);
  }
  EXPECT_EQ(tokens, all.tokens);
  EXPECT_EQ(bytes, all.bytes);
  EXPECT_NEAR(nats / double(tokens), all.loss, 1e-12);
  EXPECT_NE(all.domains[0].load, all.domains[1].load);
}

}  // namespace
}  // namespace hadal
