// Codes that meet a weight packed as codes, as a model in FP8 decodes: on every instruction set the bits of codes with
// codes, whatever the number of rows; by the formulas the same sums.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/expect_error.h"
#include "base/random.h"
#include "ops/matmul_weight.h"
#include "ops/quantise.h"
#include "ops/weight.h"

namespace hadal {
namespace {

// Numbers over 16 binades, so that tiles have subnormal codes and zeros.
Tensor wide_numbers(const Exec& exec, const Shape& shape, uint64_t stream) {
  const Tensor tensor = Tensor::empty(exec, DType::bf16, shape);
  for (int64_t i = 0; i < tensor.count(); ++i) {
    const double binade = 16 * random_uniform(5, stream, uint64_t(i));
    set_element(tensor, i, std::ldexp(random_normal(7, stream, uint64_t(i)), -int(binade)));
  }
  return tensor;
}

Weight packed_codes(const Exec& exec, const Quantised& codes) {
  Weight weight(codes);
  ops::pack(exec, weight, PanelType::fp8);
  EXPECT_FALSE(weight.has(WeightForm::codes));
  return weight;
}

bool equal_to_the_bit(const Tensor& a, const Tensor& b) {
  return std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

struct PackedCase {
  int64_t k, n;
  DType result;
  ops::Write write;
  ScaleRule rule;
};

TEST(PackedCodes, HaveTheBitsOfCodesForAnyNumberOfRows) {
  for (const Isa isa : available_isas()) {
    if (isa == Isa::reference) continue;
    const OwnedExec owned(2, isa);
    const Exec& exec = owned.exec;
    for (const PackedCase& form : {PackedCase{300, 140, DType::f32, ops::Write::overwrite, ScaleRule::exact},
                                   PackedCase{515, 33, DType::bf16, ops::Write::overwrite, ScaleRule::power_of_two},
                                   PackedCase{128, 256, DType::f32, ops::Write::add, ScaleRule::exact}}) {
      const Tensor x = wide_numbers(exec, {130, form.k}, 1);
      const Quantised xq = ops::quantise(exec, x, kRowTile, form.rule);
      const Quantised wq = ops::quantise(exec, wide_numbers(exec, {form.n, form.k}, 2), kSquareTile, form.rule);
      const Weight weight = packed_codes(exec, wq);
      for (int64_t rows = 1; rows <= 130; ++rows) {
        const Tensor before = wide_numbers(exec, {rows, form.n}, 3).to(exec, form.result);
        const Tensor y = before.clone(exec), expected = before.clone(exec);
        ops::linear(exec, expected, xq.row_range(0, rows), Activation(wq), form.write);
        ops::linear(exec, y, xq.row_range(0, rows), weight, form.write);
        ASSERT_TRUE(equal_to_the_bit(y, expected)) << isa_name(isa) << " " << rows << " rows of " << form.k;
      }
    }
  }
}

TEST(PackedCodes, OfExpertsHaveTheBitsOfCodesWithEmptyGroups) {
  for (const Isa isa : available_isas()) {
    if (isa == Isa::reference) continue;
    const OwnedExec owned(2, isa);
    const Exec& exec = owned.exec;
    const Tensor offsets = Tensor::from(exec, std::vector<int32_t>{0, 1, 1, 6, 6, 76, 76}, {7});
    const Quantised xq = ops::quantise(exec, wide_numbers(exec, {76, 260}, 1), kRowTile);
    const Quantised wq = ops::quantise(exec, wide_numbers(exec, {6, 70, 260}, 2), kSquareTile);
    const Weight weight = packed_codes(exec, wq);
    const Tensor y = Tensor::zeros(exec, DType::f32, {76, 70}), expected = Tensor::zeros(exec, DType::f32, {76, 70});
    ops::grouped_linear(exec, expected, xq, Activation(wq), offsets);
    ops::grouped_linear(exec, y, xq, weight, offsets);
    EXPECT_TRUE(equal_to_the_bit(y, expected)) << isa_name(isa);
  }
}

TEST(PackedCodes, ByTheFormulasAreTheSameSums) {
  const OwnedExec owned(2, Isa::reference);
  const Exec& exec = owned.exec;
  const Quantised xq = ops::quantise(exec, wide_numbers(exec, {5, 300}, 1), kRowTile);
  const Quantised wq = ops::quantise(exec, wide_numbers(exec, {70, 300}, 2), kSquareTile);
  const Tensor y = Tensor::zeros(exec, DType::f32, {5, 70}), expected = Tensor::zeros(exec, DType::f32, {5, 70});
  ops::linear(exec, expected, xq, Activation(wq));
  ops::linear(exec, y, xq, packed_codes(exec, wq));
  double size = 0;
  for (int64_t i = 0; i < y.count(); ++i) size = std::max(size, std::abs(element(expected, i)));
  for (int64_t i = 0; i < y.count(); ++i) EXPECT_NEAR(element(y, i), element(expected, i), 1e-5 * size) << i;
}

// A NaN among the codes of a row makes that row's results NaN, and no other's.
TEST(PackedCodes, ANanStaysInItsRow) {
  for (const Isa isa : available_isas()) {
    const OwnedExec owned(2, isa);
    const Exec& exec = owned.exec;
    const Tensor x = wide_numbers(exec, {6, 200}, 1);
    set_element(x, 3 * 200 + 150, std::nan(""));
    const Weight weight = packed_codes(exec, ops::quantise(exec, wide_numbers(exec, {40, 200}, 2), kSquareTile));
    const Tensor y = Tensor::zeros(exec, DType::f32, {6, 40});
    ops::linear(exec, y, ops::quantise(exec, x, kRowTile), weight);
    for (int64_t i = 0; i < y.count(); ++i)
      EXPECT_EQ(std::isnan(element(y, i)), i / 40 == 3) << isa_name(isa) << " " << i;
  }
}

TEST(PackedCodes, RefuseOtherSumsAndResults) {
  const OwnedExec owned(1, available_isas().back());
  const Exec& exec = owned.exec;
  const Quantised xq = ops::quantise(exec, wide_numbers(exec, {2, 256}, 1), kRowTile);
  const Weight weight = packed_codes(exec, ops::quantise(exec, wide_numbers(exec, {30, 256}, 2), kSquareTile));
  const Tensor y = Tensor::zeros(exec, DType::f32, {2, 30});
  EXPECT_ERROR(ops::linear(exec, y, xq, weight, ops::Write::overwrite, ops::Accumulation::hopper), ErrorKind::internal,
               "packed codes are summed in FP32, not as Hopper does");
  EXPECT_ERROR(ops::linear(exec, Tensor::zeros(exec, DType::f64, {2, 30}), xq, weight), ErrorKind::internal,
               "the product of FP8 codes is F32 or BF16, not F64");
  EXPECT_ERROR(ops::linear(exec, Tensor::zeros(exec, DType::f32, {2, 31}), xq, weight), ErrorKind::internal,
               "y is [2, 31], must be [2, 30]");
}

}  // namespace
}  // namespace hadal
