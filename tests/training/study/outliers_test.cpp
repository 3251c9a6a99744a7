// One outlier among Gaussian values, against figures that numpy and ml_dtypes gave for the same experiment with other
// draws; and what is seen of a model's own tensors.
#include "study/outliers.h"

#include "model/small_model.h"

namespace hadal {
namespace {

using namespace hadal::testing;

// Error of all others, and share of them flushed to zero, in percent.
TEST(Outliers, OneAmongGaussianValuesDoesWhatNumpySaid) {
  const OwnedExec owned(2);
  const auto rows = synthetic_outliers(owned.exec);
  ASSERT_EQ(rows.size(), 8u);
  struct Expected {
    size_t row;
    double error[5], flushed[5];
  };
  const Expected expected[] = {{3, {2.6, 2.6, 2.7, 2.6, 2.7}, {0.2, 0, 0, 0, 0}},
                               {4, {2.7, 2.6, 2.7, 2.6, 2.7}, {1.8, 0, 0.1, 0, 0}},
                               {5, {12.6, 2.8, 4.0, 2.6, 2.7}, {17, 0.1, 1.1, 0, 0}},
                               {6, {95, 6.6, 23.8, 3.4, 2.9}, {97, 0.4, 6.1, 0, 0}}};
  for (const Expected& e : expected) {
    const OutlierRow& row = rows[e.row];
    EXPECT_EQ(row.ratio, std::pow(10.0, double(e.row)));
    for (size_t s = 0; s < 5; ++s) {
      EXPECT_NEAR(100 * row.errors[s].error, e.error[s], 0.15 + 0.06 * e.error[s]) << row.ratio << schemes()[s].name;
      EXPECT_NEAR(100 * row.errors[s].flushed, e.flushed[s], 0.1 + 0.05 * e.flushed[s]) << row.ratio;
    }
  }
  // Where the outlier's tile takes all, small rows are lost with the others; one of 1 x 128 reaches but one row.
  EXPECT_GT(rows[6].errors[0].small_rows, 0.9);
  EXPECT_LT(rows[7].errors[3].small_rows, 0.03);
}

TEST(Outliers, SmallRowsAreTheSmallest) {
  const OwnedExec owned(1);
  const Tensor x = Tensor::empty(owned.exec, DType::f32, {20, 128});
  for (int64_t i = 0; i < x.count(); ++i)
    set_element(x, i, random_normal(1, 2, uint64_t(i)) * (i / 128 % 10 == 3 ? 1e-9 : 1.0));
  const SchemeErrors errors = scheme_errors(owned.exec, x);
  EXPECT_NEAR(errors[0].small_rows, 1, 1e-6);  // two rows of twenty, flushed
  EXPECT_NEAR(errors[0].flushed, 0.1, 1e-9);
  EXPECT_NEAR(errors[0].error, 0.026, 0.002);
  EXPECT_NEAR(errors[1].small_rows, 0.026, 0.003);
  EXPECT_EQ(errors[1].flushed, 0);
}

TEST(Outliers, OfAModelEveryFp8LinearShowsItsInputAndItsGradient) {
  SmallModel small(small_config(), training_options(Precision::bf16));
  const MicroBatch batch = make_batch({{40}}, false);
  const auto rows = tensor_outliers(small.owned.exec, small.model, batch, loss_weights(small_config()));
  int64_t of_o = 0, gradients = 0;
  for (const TensorRow& row : rows) {
    of_o += row.linear.ends_with("attention.o"), gradients += row.gradient;
    EXPECT_EQ(row.linear.find("router"), std::string::npos);
    EXPECT_GE(row.largest_over_rms, 1);
    EXPECT_LT(row.errors[3].error, 0.04) << row.linear;
  }
  EXPECT_EQ(of_o, 2 * (small_config().n_layers + small_config().n_mtp));
  EXPECT_EQ(gradients * 2, int64_t(rows.size()));
  EXPECT_EQ(count_tensors(small.model), int64_t(rows.size()));
}

}  // namespace
}  // namespace hadal
