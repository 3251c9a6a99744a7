// Faults that trainers on many ranks have had: each is found, and named by what it changes. Those between ranks are put
// there by a transport; those of the source are planted by tools/mutants, and each must break one of the Controls.
#include <gtest/gtest.h>

#include <cstring>

#include "base/testing.h"
#include "comm/faulty_transport.h"
#include "train/spread_case.h"

namespace hadal {
namespace {

using namespace hadal::testing;

// What differs first, and everything else with the parameter that differs most.
std::string said(const LayoutFindings& findings) {
  std::string text = findings.difference();
  for (const LayoutRow& row : findings.rows)
    if (row.distance > row.limit) text += fmt::format("; {} of {}", row.quantity, row.worst);
  return text;
}

// ---- layouts, of which each makes code run that a fault may be in ----

// One step, so that what differs is what the fault changes and not what follows from it.
LayoutCase control(const std::string& layout, std::vector<int64_t> lengths = {9, 4, 12, 7}) {
  LayoutCase c = spread_case(layout, Precision::fp64);
  c.steps = 1;
  c.lengths = std::move(lengths);
  if (c.config.parallel.pp > 1) c.config.model.n_layers = 4;
  return c;
}

// Of four tokens no more than four of the eight experts see one.
LayoutCase with_experts_without_tokens() {
  LayoutCase c = control("dp=8,ep=8", {2, 2});
  c.config.model.n_experts_per_token = 1;
  return c;
}

LayoutCase with_more_ranks_than_micro_batches() {
  LayoutCase c = control("dp=8");
  c.steps = 2;  // what is left of the first may not count in the second
  return c;
}

// Each reads values that the step before left under way; those after odd steps are waited for, to be compared.
LayoutCase with_values_under_way() {
  LayoutCase c = control("dp=2");
  c.steps = 3;
  return c;
}

LayoutCase with_recomputation(const std::string& layout) {
  LayoutCase c = control(layout);
  c.config.train.recompute = Recompute::all;
  return c;
}

// Rows enough to be gathered in parts under a product.
LayoutCase with_long_sequence() {
  LayoutCase c = control("tp=2", {518});
  c.config.model.max_positions = 1024, c.config.model.n_dense_layers = 1;
  return c;
}

struct Control {
  const char* name;
  std::function<LayoutCase()> make;
};

class Controls : public ::testing::TestWithParam<Control> {};
INSTANTIATE_TEST_SUITE_P(
    Layout, Controls,
    ::testing::Values(Control{"Data", [] { return control("dp=2"); }},
                      Control{"RanksWithoutMicroBatches", with_more_ranks_than_micro_batches},
                      Control{"ValuesUnderWay", with_values_under_way},
                      Control{"Experts", [] { return control("dp=4,ep=2"); }},
                      Control{"ExpertsWithoutTokens", with_experts_without_tokens},
                      Control{"Pipeline", [] { return control("pp=2"); }},
                      Control{"LaterWeights", [] { return with_recomputation("pp=2,schedule=zb1p"); }},
                      Control{"TwoDirections",
                              [] {
                                return control("pp=2,schedule=dualpipe", {6, 6, 6, 6});
                              }},
                      Control{"Tensor", [] { return control("tp=2"); }},
                      Control{"Context", [] { return control("cp=2"); }}, Control{"LongSequence", with_long_sequence}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(Controls, AgreeWithOneRank) {
  const LayoutFindings findings = check_it(GetParam().make());
  EXPECT_TRUE(findings.agree()) << "the check says: " << said(findings);
}

// ---- faults between ranks ----

std::string said_with(LayoutCase c, const FaultyTransport::Change& change) {
  c.wrap = [change](std::shared_ptr<Transport> inner) {
    return std::make_shared<FaultyTransport>(std::move(inner), change);
  };
  return said(check_it(c));
}

void scale(Message& message, double factor) {
  for (int64_t i = 0; i + int64_t(sizeof(double)) <= message.bytes; i += int64_t(sizeof(double))) {
    double value;
    std::memcpy(&value, message.data.get() + i, sizeof value);
    value *= factor;
    std::memcpy(message.data.get() + i, &value, sizeof value);
  }
}

using testing::has;

TEST(LayoutFaults, FindsAnExpertsGradientThatIsDoubled) {
  const std::string text = said_with(control("dp=4,ep=2"), [](int, int, Message& message) {
    if (message.label.operation == "reduce_scatter of holders 1 3") scale(message, 2.0);
  });
  EXPECT_TRUE(has(text, "gradient norm (step 1)")) << text;
  EXPECT_TRUE(has(text, "the first parameter that differs: gradient (layers.0.moe.experts.gate, step 1)")) << text;
}

// In a pipeline of two, with MTP, the embedding is all that both ranks hold.
TEST(LayoutFaults, FindsACopyOfTheEmbeddingThatIsNotAddedOrAddedTwice) {
  for (const double factor : {0.0, 2.0}) {
    const std::string text = said_with(control("pp=2"), [factor](int to, int, Message& message) {
      if (to == 0 && message.label.operation == "reduce_scatter of holders 0 1") scale(message, factor);
    });
    EXPECT_TRUE(has(text, "gradient norm (step 1)")) << text;
    EXPECT_TRUE(has(text, "the first parameter that differs: gradient (embedding, step 1)")) << text;
  }
}

// What tensor ranks do first is to add up the embeddings that each finds in its rows of the vocabulary.
TEST(LayoutFaults, FindsAnEmbeddingWithoutTheOtherRanksRows) {
  const std::string text = said_with(control("tp=2"), [](int to, int, Message& message) {
    if (to == 1 && message.label.operation == "reduce_scatter of tensor from rank 0" && message.label.number == 0)
      scale(message, 0.0);
  });
  EXPECT_TRUE(has(text, "loss (step 1)")) << text;
}

// Of each rank's 259 rows, gathered under the first product of a dense FFN in parts of 129 and 130, the second.
TEST(LayoutFaults, FindsPartsOfAGatherThatAreDropped) {
  const LayoutCase c = with_long_sequence();
  const int64_t bytes = 130 * c.config.model.hidden_size * int64_t(sizeof(double));
  const std::string text = said_with(c, [bytes](int to, int, Message& message) {
    if (to == 1 && message.label.operation == "all_gather of tensor from rank 0" && message.bytes == bytes)
      scale(message, 0.0);
  });
  EXPECT_TRUE(has(text, "loss (step 1)")) << text;
}

// How often a sequence chooses each expert is all that context ranks add up in a step.
TEST(LayoutFaults, FindsTheSumsOverASplitSequenceMissing) {
  const std::string text = said_with(control("cp=2"), [](int, int, Message& message) {
    if (message.label.operation == "all_reduce of context from rank 0") scale(message, 0.0);
  });
  EXPECT_TRUE(has(text, "balance loss (step 1)")) << text;
}

}  // namespace
}  // namespace hadal
