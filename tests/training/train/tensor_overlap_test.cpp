// Tensor ranks on virtual clocks: what they gather and sum travels while they multiply.
#include <gtest/gtest.h>

#include "train/tensor_step.h"

namespace hadal {
namespace {

using namespace hadal::testing;

TEST(TensorOverlap, MostOfWhatTensorRanksSendTravelsWhileTheyMultiply) {
  ClockedCase c = tensor_case(narrow_v3(4, 4), "tp=2");
  const TensorFigures overlapped = tensor_figures(c, EqualTo::all_products);
  EXPECT_NEAR(overlapped.traffic, overlapped.products, 1e-9 * overlapped.products);
  EXPECT_GE(overlapped.hidden(), 0.7);
  EXPECT_EQ(tensor_figures(c, EqualTo::all_products).step, overlapped.step) << "the same in every run";
  c.sends_block = true;  // the control: who sends computes nothing meanwhile
  EXPECT_NEAR(tensor_figures(c, EqualTo::all_products).hidden(), 0, 1e-9);
  RecordProperty("hidden", std::to_string(overlapped.hidden()));
}

// Layers with experts have little that is cut: what is sent for it travels under W's of experts too.
TEST(TensorOverlap, WeightGradientsOfOtherPiecesHideWhatAttentionSends) {
  const TensorFigures figures = tensor_figures(tensor_case(narrow_v3(8, 1), "tp=2"), EqualTo::tensor_products);
  EXPECT_LT(figures.traffic, 0.6 * figures.products);
  EXPECT_GE(figures.hidden(), 0.7);
  RecordProperty("hidden", std::to_string(figures.hidden()));
}

}  // namespace
}  // namespace hadal
