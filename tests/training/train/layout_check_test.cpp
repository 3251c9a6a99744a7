// Every layout computes what one rank computes; and the check that says so finds faults that are put between ranks.
// Faults in the source itself are planted by tools/mutants.
#include "train/layout_check.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <tuple>

#include "base/error.h"
#include "base/expect_error.h"
#include "comm/faulty_transport.h"
#include "config/config_io.h"
#include "train/small_step.h"

namespace hadal {
namespace {

using namespace hadal::testing;

LayoutFindings check_it(const LayoutCase& c) {
  OwnedExec owned(2);
  return check_layout(c, owned.exec);
}

class RandomLayouts : public ::testing::TestWithParam<Precision> {};
INSTANTIATE_TEST_SUITE_P(LayoutCheck, RandomLayouts,
                         ::testing::Values(Precision::fp64, Precision::fp32, Precision::bf16, Precision::fp16,
                                           Precision::fp8),
                         [](const auto& info) { return std::string(enum_name(info.param)); });

TEST_P(RandomLayouts, ComputeWhatOneRankComputes) {
  for (int64_t number = 0; number < 12; ++number) {  // all 40 of a seed: label ranks
    const LayoutCase c = random_layout_case(1, number, GetParam());
    const LayoutFindings findings = check_it(c);
    EXPECT_TRUE(findings.agree()) << number << ", " << layout_case_text(c) << ": " << findings.first;
    EXPECT_GT(findings.rows.size(), 8u);
  }
}

LayoutCase plain_case(int64_t dp, Precision precision = Precision::fp64) {
  LayoutCase c;
  c.config = small_config(precision);
  c.config.train.micro_batch_sequences = 1;
  c.config.optim.clip = 0.05;
  c.config.parallel.dp = dp;
  c.lengths = {9, 4, 12, 2, 7};
  return c;
}

TEST(LayoutCheck, RanksWithoutAMicroBatchTakePart) {
  const LayoutFindings findings = check_it(plain_case(8));
  EXPECT_TRUE(findings.agree()) << findings.first;
}

TEST(LayoutCheck, FewTrainedTokensSpreadUnevenlyAreAveragedOverAllRanks) {  // as in dialogues
  for (const char* layout : {"dp=2", "dp=4", "pp=2", "dp=2,tp=2", "cp=2", "dp=2,ep=2"}) {
    LayoutCase c = plain_case(1);
    c.config.parallel = parse_layout(layout);
    c.config.data.document_mask = DocumentMask::document;
    c.lengths = {9, 14, 12, 2, 7, 30};
    c.untrained_eighths = 7;
    for (const bool weighted : {false, true}) {
      c.weighted = weighted;
      const LayoutFindings findings = check_it(c);
      EXPECT_TRUE(findings.agree()) << layout << (weighted ? ", weighted: " : ": ") << findings.first;
    }
  }
}

TEST(LayoutCheck, MovingAverageAndNarrowMomentsAreSharedToo) {
  LayoutCase c = plain_case(3, Precision::bf16);
  c.config.optim.ema_decay = 0.9;
  c.config.optim.moments = MomentFormat::bf16;
  const LayoutFindings findings = check_it(c);
  EXPECT_TRUE(findings.agree()) << findings.first;
  bool average = false;
  for (const LayoutRow& row : findings.rows) average = average || row.quantity == "moving average";
  EXPECT_TRUE(average);
}

TEST(LayoutCheck, OneRankAgreesWithItselfToTheBit) {
  const LayoutFindings findings = check_it(plain_case(1, Precision::fp32));
  EXPECT_TRUE(findings.agree());
  for (const LayoutRow& row : findings.rows) EXPECT_EQ(row.distance, 0) << row.quantity << " " << row.worst;
}

// Every schedule, deep and with fillers: two of 5 sequences' micro-batches are missing.
TEST(LayoutCheck, PipelinesComputeWhatOneRankComputes) {
  for (const char* layout :
       {"pp=2", "pp=4", "pp=2,schedule=zb1p", "pp=3,schedule=zb1p", "pp=2,schedule=interleaved,chunks=2",
        "pp=2,schedule=dualpipe", "pp=4,schedule=dualpipe", "schedule=dualpipev", "pp=2,schedule=dualpipev",
        "dp=2,pp=2,schedule=dualpipe", "dp=3,pp=2"}) {
    for (const Precision precision : {Precision::fp64, Precision::fp32}) {
      LayoutCase c = plain_case(1, precision);
      c.config.model.n_layers = 4;
      c.config.model.n_dense_layers = 1;
      c.config.parallel = parse_layout(layout);
      const LayoutFindings findings = check_it(c);
      EXPECT_TRUE(findings.agree()) << layout << ": " << findings.first;
    }
  }
}

// Alone, together, and with every other axis.
TEST(LayoutCheck, TensorAndContextRanksComputeWhatOneRankComputes) {
  for (const char* layout :
       {"tp=2", "cp=2", "tp=4,ep=4", "cp=3,dp=2,ep=2", "tp=2,cp=2,ep=4", "tp=2,cp=2,pp=2,ep=2,schedule=dualpipe",
        "dp=2,tp=2,pp=2,ep=4,schedule=zb1p", "cp=2,pp=2,schedule=interleaved,chunks=2", "tp=2,schedule=dualpipev"}) {
    for (const Precision precision : {Precision::fp64, Precision::fp32}) {
      LayoutCase c = plain_case(1, precision);
      c.config.model.n_layers = 4;
      c.config.model.n_dense_layers = 1;
      c.config.model.n_heads = 4;
      c.config.parallel = parse_layout(layout);
      const LayoutFindings findings = check_it(c);
      EXPECT_TRUE(findings.agree()) << layout << ": " << findings.first;
    }
  }
}

// In 1F1B a pipeline does the work of one rank in its order: the same bits.
TEST(LayoutCheck, APipelineHasTheBitsOfOneRank) {
  LayoutCase c = plain_case(1, Precision::fp32);
  c.config.model.n_layers = 3;
  c.config.model.n_mtp = 0;
  c.config.parallel = parse_layout("pp=3");
  const LayoutFindings findings = check_it(c);
  EXPECT_TRUE(findings.agree()) << findings.first;
  for (const LayoutRow& row : findings.rows) {
    if (row.quantity == "balance loss") continue;  // a sum over layers, so over ranks
    EXPECT_EQ(row.distance, 0) << row.quantity << " " << row.worst;
  }
}

// ---- the negative control: faults between ranks ----

std::string first_with(const FaultyTransport::Change& change) {
  LayoutCase c = plain_case(2);
  c.wrap = [change](std::shared_ptr<Transport> inner) {
    return std::make_shared<FaultyTransport>(std::move(inner), change);
  };
  return check_it(c).difference();
}

template <class T>
void scale(Message& message, T factor) {
  for (int64_t i = 0; i < message.bytes / int64_t(sizeof(T)); ++i) {
    T value;
    std::memcpy(&value, message.data.get() + i * int64_t(sizeof(T)), sizeof value);
    value *= factor;
    std::memcpy(message.data.get() + i * int64_t(sizeof(T)), &value, sizeof value);
  }
}

TEST(LayoutCheck, FindsAGradientCountedTwice) {
  const std::string first = first_with([](int, int from, Message& message) {
    if (from == 1 && message.label.operation == "reduce_scatter of holders 0 1") scale(message, 2.0);
  });
  EXPECT_NE(first.find("gradient norm (step 1)"), std::string::npos) << first;
  EXPECT_NE(first.find("the first parameter that differs: gradient (embedding, step 1)"), std::string::npos) << first;
}

TEST(LayoutCheck, FindsAGradientThatIsLost) {
  const std::string first = first_with([](int to, int, Message& message) {
    if (to == 1 && message.label.operation == "reduce_scatter of holders 0 1") scale(message, 0.0);
  });
  EXPECT_NE(first.find("differs"), std::string::npos) << first;
}

TEST(LayoutCheck, FindsValuesOfTheStepBefore) {
  // by receiver and size: what came last time
  auto before = std::make_shared<std::map<std::tuple<int, int64_t, int64_t>, std::vector<std::byte>>>();
  auto lock = std::make_shared<std::mutex>();
  const std::string first = first_with([before, lock](int to, int, Message& message) {
    if (to != 1 || message.label.operation != "all_gather of holders 0 1") return;
    const std::lock_guard guard(*lock);
    std::vector<std::byte>& last = (*before)[{to, message.bytes, 0}];
    std::vector<std::byte> now(message.data.get(), message.data.get() + message.bytes);
    if (!last.empty()) std::memcpy(message.data.get(), last.data(), last.size());
    last = std::move(now);
  });
  EXPECT_NE(first.find("loss (step 3)"), std::string::npos) << first;  // which was the first to read them
}

std::string first_in_pipeline(const FaultyTransport::Change& change) {
  LayoutCase c = plain_case(1);
  c.config.parallel = parse_layout("pp=2,schedule=dualpipe");
  c.wrap = [change](std::shared_ptr<Transport> inner) {
    return std::make_shared<FaultyTransport>(std::move(inner), change);
  };
  return check_it(c).difference();
}

TEST(LayoutCheck, FindsActivationsOfAnotherMicroBatch) {
  auto before = std::make_shared<std::map<std::pair<int, int64_t>, std::vector<std::byte>>>();
  auto lock = std::make_shared<std::mutex>();
  const std::string first = first_in_pipeline([before, lock](int to, int, Message& message) {
    if (message.label.operation.find("activations") == std::string::npos || message.bytes == 0) return;
    const std::lock_guard guard(*lock);
    std::vector<std::byte>& last = (*before)[{to, 0}];
    std::vector<std::byte> now(message.data.get(), message.data.get() + message.bytes);
    if (!last.empty()) std::memcpy(message.data.get(), last.data(), std::min(last.size(), now.size()));
    last = std::move(now);
  });
  EXPECT_NE(first.find("loss (step 1)"), std::string::npos) << first;
}

TEST(LayoutCheck, FindsAGradientThatDoesNotTravelBack) {
  const std::string first = first_in_pipeline([](int, int, Message& message) {
    if (message.label.operation.find("gradients") != std::string::npos) scale(message, 0.0);
  });
  EXPECT_NE(first.find("gradient norm (step 1)"), std::string::npos) << first;
  EXPECT_NE(first.find("the first parameter that differs: gradient (embedding, step 1)"), std::string::npos) << first;
}

// The copies of a DualPipe pair that do not add up their gradients.
TEST(LayoutCheck, FindsDirectionsThatAreNotAddedUp) {
  const std::string first = first_in_pipeline([](int, int, Message& message) {
    if (message.label.operation == "reduce_scatter of holders 0 1") scale(message, 0.0);
  });
  EXPECT_NE(first.find("gradient norm (step 1)"), std::string::npos) << first;
  EXPECT_NE(first.find("the first parameter that differs: gradient (embedding, step 1)"), std::string::npos) << first;
}

// Copies prove every so often that they are equal; here a bit of the values that rank 1 gets is lost.
TEST(LayoutCheck, CopiesThatDriftApartAreNamed) {
  LayoutCase c = plain_case(2);
  c.config.parallel.drift_steps = 2;
  auto steps = std::make_shared<std::atomic<int>>(0);
  c.wrap = [steps](std::shared_ptr<Transport> inner) {
    return std::make_shared<FaultyTransport>(std::move(inner), [steps](int to, int, Message& message) {
      if (to == 1 && message.label.operation == "all_gather of holders 0 1" && ++*steps == 2)
        message.data[0] ^= std::byte(1);
    });
  };
  EXPECT_ERROR(check_it(c), ErrorKind::failed, "ranks 0 and 1 hold different values of");
}

TEST(LayoutCheck, FindsLossesOfOneRankAlone) {
  const std::string first = first_with([](int, int from, Message& message) {
    if (from == 1 && message.label.operation == "all_to_all of all ranks of the layout" && message.bytes > 100 &&
        message.bytes < 400)
      std::memset(message.data.get(), 0, sizeof(double));  // the sum of its main losses
  });
  EXPECT_NE(first.find("loss (step 1)"), std::string::npos) << first;
}

// ---- cases and layouts ----

TEST(LayoutCheck, ShrinksWidthsAndKeepsWhatMakesOtherCodeRun) {
  const Config v3 = load_config(std::string(HADAL_SOURCE_DIR) + "/configs/deepseek-v3-671b.toml");
  const Config narrow = shrunk_in_width(v3);
  EXPECT_EQ(narrow.model.n_layers, 61);
  EXPECT_EQ(narrow.model.n_routed_experts, 256);
  EXPECT_EQ(narrow.model.n_groups, 8);
  EXPECT_EQ(narrow.model.n_mtp, 1);
  EXPECT_EQ(narrow.model.hidden_size, 48);
  EXPECT_EQ(narrow.model.expert_ffn_size, 12);
}

// ---- a user's own model ----

TEST(LayoutCheck, AUsersModelMakesEverythingRunThatAStepHas) {
  for (const char* name : {"shakespeare", "deepseek-v2-lite-16b"}) {
    Config config = load_config(std::string(HADAL_SOURCE_DIR) + "/configs/" + name + ".toml");
    config.model.n_layers = 3;
    LayoutCase c = layout_case_of(config, parse_layout("dp=2"), Precision::fp64);
    c.steps = 2;
    const LayoutFindings findings = check_it(c);
    EXPECT_TRUE(findings.agree()) << name << ": " << findings.difference();
    const LayoutExercise& e = findings.exercised;
    EXPECT_EQ(e.micro_batches, 5) << name;
    EXPECT_EQ(e.micro_batches_of_a_rank, 3) << name;
    EXPECT_LT(e.least_targets, e.most_targets) << name;
    EXPECT_TRUE(e.masked) << name;
    EXPECT_EQ(e.mtp_depths, config.model.n_mtp) << name;
    EXPECT_NE(e.recompute, Recompute::none) << name;
    EXPECT_EQ(e.clipped_steps, 2) << name << ": " << e.text();
    EXPECT_EQ(e.idle_steps, 2) << name << ": " << e.text();
  }
}

TEST(LayoutCheck, AUsersOwnRecomputationAndNarrowerClipStay) {
  Config config = small_config(Precision::fp32);
  config.train.recompute = Recompute::norms;
  config.optim.clip = 0.01;
  const LayoutCase c = layout_case_of(config, parse_layout("pp=2"), Precision::fp32);
  EXPECT_EQ(c.config.train.recompute, Recompute::norms);
  EXPECT_EQ(c.config.optim.clip, 0.01);
}

// What a check says of what ran is counted there: with a high clip, all tokens at every expert and equal sequences.
TEST(LayoutCheck, WhatDoesNotRunIsNotSaidToRun) {
  LayoutCase c = plain_case(2);
  c.config.optim.clip = 1e6;
  c.config.model.n_experts_per_token = c.config.model.n_routed_experts;
  c.config.model.n_mtp = 0;
  c.idle_expert = true;
  c.lengths = {9, 9};
  c.untrained_eighths = 0;
  const LayoutExercise e = check_it(c).exercised;
  EXPECT_EQ(e.text(),
            "2 micro-batches a step (up to 1 on a data rank) of 8 to 8 targets, no document mask, no MTP, "
            "recompute none, gradients clipped to 1000000 in 0 of 3 steps, an expert without tokens in 0 of 3");
}

TEST(LayoutCheck, FortyCasesHaveEveryPairOfAxesAndManyFours) {
  std::map<std::pair<int, int>, int> pairs;
  int fours = 0;
  std::map<std::string, int> schedules;
  for (int64_t number = 0; number < 40; ++number) {
    const ParallelConfig p = random_layout_case(1, number, Precision::fp64).config.parallel;
    const bool cut[] = {p.dp > 1, p.pp > 1, p.ep > 1, p.tp > 1, p.cp > 1};
    for (int a = 0; a < 5; ++a)
      for (int b = a + 1; b < 5; ++b) pairs[{a, b}] += cut[a] && cut[b];
    fours += std::count(std::begin(cut), std::end(cut), true) >= 4;
    if (p.pp > 1) ++schedules[p.schedule];
    EXPECT_LE(p.ranks(), 16);
  }
  for (const auto& [axes, n] : pairs) EXPECT_GE(n, 3) << axes.first << " with " << axes.second;
  EXPECT_GE(fours, 5);
  EXPECT_EQ(schedules.size(), 5u) << "every schedule is among them";
}

TEST(LayoutCheck, CasesAreDrawnFromTheirNumbersAlone) {
  EXPECT_EQ(layout_case_text(random_layout_case(3, 4, Precision::fp64)),
            layout_case_text(random_layout_case(3, 4, Precision::fp64)));
  EXPECT_NE(layout_case_text(random_layout_case(3, 4, Precision::fp64)),
            layout_case_text(random_layout_case(3, 5, Precision::fp64)));
}

}  // namespace
}  // namespace hadal
