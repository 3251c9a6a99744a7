// The weighted SwiGLU backward against its formula in FP64, in every instruction set, and its bits.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/random.h"
#include "kernels/places_fixture.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

using kernels_test::ExecAt;
using kernels_test::Place;
using kernels_test::places;

constexpr int64_t kRows = 111;

struct Operands {
  ops::SwigluWeightedArgs args;
};

Tensor random(const Exec& exec, DType dtype, int64_t rows, int64_t cols, uint64_t stream) {
  const Tensor t = Tensor::empty(exec, dtype, {rows, cols});
  for (int64_t i = 0; i < t.count(); ++i)
    set_element(t, i, double(float(bf16(float(random_normal(3, stream, uint64_t(i)))))));
  return t;
}

Operands operands(const Exec& exec, DType dtype, int64_t cols) {
  Operands o;
  const Tensor gate_up = random(exec, dtype, kRows, 2 * cols, 1);
  o.args.g = gate_up.col_range(0, cols);
  o.args.u = gate_up.col_range(cols, cols);
  o.args.dh = random(exec, dtype, kRows, cols, 2);
  const DType wide = dtype == DType::f64 ? DType::f64 : DType::f32;
  o.args.weight = random(exec, wide, 1, kRows, 3).view({kRows});
  o.args.dweight = Tensor::zeros(exec, wide, {kRows});
  return o;
}

void run(const Exec& exec, Operands& o) { ops::swiglu_weighted_backward(exec, o.args); }

TEST(SwigluWeighted, IsItsFormulaInEveryInstructionSet) {
  for (const Place& place : places()) {
    const ExecAt owned(place, 2);
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      if (dtype == DType::f64 && place.on_device) continue;
      for (const int64_t cols : {1, 7, 16, 33, 100}) {
        Operands before = operands(owned.exec, dtype, cols), after = operands(owned.exec, dtype, cols);
        run(owned.exec, after);
        const double tolerance = dtype == DType::bf16 ? 1e-2 : dtype == DType::f32 ? 2e-6 : 1e-13;
        for (int64_t r = 0; r < kRows; ++r) {
          const double w = element(before.args.weight, r);
          double dot = 0, size = 0;
          for (int64_t c = 0; c < cols; ++c) {
            const int64_t i = r * cols + c;
            const double g = element(before.args.g, i), u = element(before.args.u, i), d = element(before.args.dh, i);
            const double s = 1 / (1 + std::exp(-g)), h = g * s * u;
            const auto near = [&](const Tensor& t, double value) {
              EXPECT_NEAR(element(t, i), value, tolerance * (std::abs(value) + 0.1))
                  << place.name() << " " << dtype_name(dtype);
            };
            near(after.args.dh, w * h);
            near(after.args.u, w * d * g * s);
            near(after.args.g, w * d * u * s * (1 + g * (1 - s)));
            dot += d * h, size += std::abs(d * h);
          }
          EXPECT_NEAR(element(after.args.dweight, r), dot, (dtype == DType::f64 ? 1e-13 : 2e-6) * (size + 0.1));
        }
      }
    }
  }
}

TEST(SwigluWeighted, WithoutWeightsIsThePlainBackward) {
  OwnedExec owned(2);
  Operands weighted = operands(owned.exec, DType::f32, 33), plain = operands(owned.exec, DType::f32, 33);
  for (int64_t i = 0; i < weighted.args.weight.count(); ++i) set_element(weighted.args.weight, i, 1.0);
  run(owned.exec, weighted);
  plain.args.weight = plain.args.dweight = Tensor();
  run(owned.exec, plain);
  for (int64_t i = 0; i < kRows * 33; ++i) {
    ASSERT_EQ(element(plain.args.g, i), element(weighted.args.g, i));
    ASSERT_EQ(element(plain.args.u, i), element(weighted.args.u, i));
    ASSERT_EQ(element(plain.args.dh, i), element(weighted.args.dh, i));
  }
}

TEST(SwigluWeighted, HasTheSameBitsOnAnyNumberOfThreads) {
  std::vector<double> expected;
  for (const int threads : {1, 2, 5}) {
    OwnedExec owned(threads);
    Operands o = operands(owned.exec, DType::bf16, 400);
    run(owned.exec, o);
    std::vector<double> bits;
    for (const Tensor& t : {o.args.g, o.args.u, o.args.dh, o.args.dweight})
      for (int64_t i = 0; i < t.count(); ++i) bits.push_back(element(t, i));
    if (expected.empty()) expected = bits;
    EXPECT_EQ(bits, expected);
  }
}

}  // namespace
}  // namespace hadal
