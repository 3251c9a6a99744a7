// The descriptor: contributions are counted, the first writes over what was there, boxes draw their own initial values.
#include "nn/numeric.h"

#include "base/error.h"
#include "nn/linear.h"
#include "ops/matmul.h"

namespace hadal {
namespace {

using namespace hadal::testing;

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Parameter, TheFirstContributionWritesOverWhatWasThereAndTheOthersAdd) {
  for (const Isa isa : available_isas())
    for (const DType dtype : {DType::f32, DType::bf16}) {
      OwnedExec owned(2, isa);
      const Exec& exec = owned.exec;
      ParameterSpec spec;
      spec.name = "w", spec.shape = {33, 70};
      const auto p = make_parameter(exec, spec, dtype, true);
      const Linear linear{p.get()};
      const Tensor dy = random_tensor(exec, {300, 33}, 1, 1, dtype), x = random_tensor(exec, {300, 70}, 2, 1, dtype);
      for (int64_t i = 0; i < p->grad.count(); ++i) set_element(p->grad, i, 7);
      p->expect(2);
      EXPECT_FALSE(p->complete());
      linear.backward_weight(exec, dy, x);
      const std::vector<double> once = values_of(p->grad);
      const Tensor zeros = Tensor::zeros(exec, DType::f32, {33, 70});
      ops::linear_backward_weight(exec, zeros, dy, x);  // adding to zeros is what writing over means
      EXPECT_EQ(once, values_of(zeros));
      linear.backward_weight(exec, dy, x);
      ops::linear_backward_weight(exec, zeros, dy, x);
      EXPECT_EQ(values_of(p->grad), values_of(zeros));
      EXPECT_TRUE(p->complete());
      EXPECT_EQ(message_of([&] { linear.backward_weight(exec, dy, x); }),
                "w got more than the 2 contributions to its gradient that this step was to bring");
    }
}

TEST(Parameter, ExpertsWithoutRowsHoldZerosAndALayerWithoutAnyContributesNothing) {
  OwnedExec owned(2);
  const Exec& exec = owned.exec;
  ParameterSpec spec;
  spec.name = "experts", spec.shape = {3, 5, 8};
  const auto p = make_parameter(exec, spec, DType::f32, true);
  const GroupedLinear linear{p.get()};
  const Tensor dy = random_tensor(exec, {9, 5}, 1, 1, DType::f32), x = random_tensor(exec, {9, 8}, 2, 1, DType::f32);
  for (int64_t i = 0; i < p->grad.count(); ++i) set_element(p->grad, i, 7);
  p->expect(3);
  const Tensor none = Tensor::zeros(exec, DType::i32, {4});
  linear.backward_weight(exec, dy.row_range(0, 0), x.row_range(0, 0), none);
  EXPECT_EQ(p->arrived(), 1);
  EXPECT_EQ(element(p->grad, 0), 7);  // others with rows may come: nothing is written yet
  linear.backward_weight(exec, dy, x, i32(exec, {0, 4, 4, 9}));
  for (int64_t i = 0; i < 40; ++i) {
    EXPECT_NE(element(p->grad, i), 7);
    EXPECT_EQ(element(p->grad, 40 + i), 0);  // the expert that nobody visited
  }
  linear.backward_weight(exec, dy, x, i32(exec, {0, 0, 4, 9}));
  EXPECT_NE(element(p->grad, 40), 0);
  EXPECT_TRUE(p->complete());
}

TEST(Parameter, AStepInWhichNobodyHadRowsLeavesZeros) {
  OwnedExec owned(1);
  const auto p = random_parameter(owned.exec, {4, 4}, 1);
  for (int64_t i = 0; i < 16; ++i) set_element(p->grad, i, 7);
  p->expect(2);
  p->contribute_nothing();
  EXPECT_EQ(element(p->grad, 0), 7);
  p->contribute_nothing();
  EXPECT_EQ(values_of(p->grad), std::vector<double>(16, 0.0));
  EXPECT_TRUE(p->complete());
  EXPECT_NE(message_of([&] { p->contribute_nothing(); }).find("more than the 2 contributions"), std::string::npos);
}

TEST(Parameter, InitialValuesOfABoxAreThoseOfTheWholeAtTheSameIndexes) {
  OwnedExec owned(2);
  ParameterSpec spec;
  spec.name = "layers.1.experts", spec.shape = {6, 10, 14}, spec.init_std = 0.1;
  const auto whole = make_parameter(owned.exec, spec, DType::f32, false);
  initialize_parameter(owned.exec, *whole, 5);
  const auto part = bare_parameter(spec);
  part->box = {{2, 3, 5}, {3, 4, 7}};
  part->master = Tensor::zeros(owned.exec, DType::f32, part->box.size);
  part->value = Weight(part->master);
  initialize_parameter(owned.exec, *part, 5);
  EXPECT_EQ(part->box.count(), 84);
  for (int64_t e = 0; e < 3; ++e)
    for (int64_t r = 0; r < 4; ++r)
      for (int64_t c = 0; c < 7; ++c)
        EXPECT_EQ(element(part->master, (e * 4 + r) * 7 + c),
                  element(whole->master, ((e + 2) * 10 + r + 3) * 14 + c + 5));
}

}  // namespace
}  // namespace hadal
