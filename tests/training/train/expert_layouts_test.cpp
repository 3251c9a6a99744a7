// Training steps with experts on several ranks: with replicas, pipelines and two hops, whole groups on a rank or not;
// and faults between them.
#include <gtest/gtest.h>

#include <cstring>

#include "comm/faulty_transport.h"
#include "train/spread_case.h"

namespace hadal {
namespace {

using namespace hadal::testing;

TEST(ExpertLayouts, ComputeWhatOneRankComputes) {
  for (const char* layout : {"dp=2,ep=2", "dp=4,ep=2", "dp=4,ep=4,node_ranks=2", "dp=4,ep=4,node_ranks=1", "dp=8,ep=8",
                             "dp=8,ep=8,node_ranks=4", "dp=2,pp=2,ep=2,schedule=zb1p",
                             "dp=2,pp=2,ep=2,schedule=dualpipe", "dp=4,pp=2,ep=4,node_ranks=2,schedule=dualpipev"}) {
    for (const Precision precision : {Precision::fp64, Precision::fp32}) {
      LayoutCase c = spread_case(layout, precision);
      if (c.config.parallel.pp > 1) c.config.model.n_layers = 4;
      const LayoutFindings findings = check_it(c);
      EXPECT_TRUE(findings.agree()) << layout << ": " << findings.first;
    }
  }
}

std::string first_with(const std::string& layout, const FaultyTransport::Change& change) {
  LayoutCase c = spread_case(layout, Precision::fp64);
  c.lengths = {9, 4, 12, 7};
  c.wrap = [change](std::shared_ptr<Transport> inner) {
    return std::make_shared<FaultyTransport>(std::move(inner), change);
  };
  return check_it(c).difference();
}

template <class T>
void scale_first(Message& message, T factor) {
  T value;
  std::memcpy(&value, message.data.get(), sizeof value);
  value *= factor;
  std::memcpy(message.data.get(), &value, sizeof value);
}

TEST(ExpertLayouts, FindsGradientsOfReplicasThatAreNotAddedUp) {
  const std::string first = first_with("dp=4,ep=2", [](int, int, Message& message) {
    if (message.label.operation == "reduce_scatter of holders 0 2")
      std::memset(message.data.get(), 0, size_t(message.bytes));
  });
  EXPECT_NE(first.find("gradient norm (step 1)"), std::string::npos) << first;
}

// Three MoE layers with MTP's: operations 0 to 5 are those of F; then come dy and what goes back, layer by layer.
TEST(ExpertLayouts, FindsARouterWithoutTheGradientOfAWeight) {
  const std::string first = first_with("dp=4,ep=4", [](int to, int, Message& message) {
    if (message.label.operation == "all_to_all of experts from rank 0" && message.label.number == 7 && to == 1)
      scale_first(message, 0.0);
  });
  EXPECT_NE(first.find("gradient norm (step 1)"), std::string::npos) << first;
}

TEST(ExpertLayouts, FindsASumOfOutputsThatIsDoubled) {
  const std::string first = first_with("dp=4,ep=4,node_ranks=2", [](int to, int, Message& message) {
    if (message.label.operation.starts_with("all_to_all of experts across") && message.label.number == 1 && to == 2)
      scale_first(message, 2.0);
  });
  EXPECT_NE(first.find("loss (step 1)"), std::string::npos) << first;
}

}  // namespace
}  // namespace hadal
