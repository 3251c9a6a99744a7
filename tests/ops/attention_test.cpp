// ops/attention.h: every instruction set against the formula in FP64, the bit contract, workspace, refusals.
#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cstring>

#include "attention_fixture.h"
#include "base/error.h"

namespace hadal::attention_tests {
namespace {

double tolerance(DType dtype) { return dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 3e-6 : 1.2e-2; }

// Odd sizes; segments of one token, of part of a tile, of several tiles, with a prefix in front of the queries; rows of no segment.
std::vector<Sizes> grid() {
  const std::vector<Segment> mixed = {{0, 1, 2, 1}, {1, 5, 3, 5}, {7, 70, 8, 200}, {77, 131, 210, 131}, {208, 1, 341, 65}};
  std::vector<Sizes> all;
  auto add = [&](Sizes sizes, std::vector<Segment> segments, int64_t q_rows, int64_t k_rows) {
    sizes.segments = std::move(segments), sizes.q_rows = q_rows, sizes.k_rows = k_rows;
    all.push_back(sizes);
  };
  for (bool absorbed : {false, true}) {
    add({3, 5, 3, absorbed ? 5 : 7, absorbed, {}, 0, 0}, mixed, 210, 410);
    add({2, 32, 16, 32, absorbed, {}, 0, 0}, mixed, 210, 410);
    add({1, 1, 2, 1, absorbed, {}, 0, 0}, {{0, 33, 0, 33}}, 33, 33);
    add({11, 17, 6, absorbed ? 17 : 9, absorbed, {}, 0, 0}, {{0, 67, 0, 67}, {67, 3, 67, 67}}, 70, 134);
    add({2, 128, 64, 128, absorbed, {}, 0, 0}, {{0, 129, 0, 129}}, 129, 129);
    add({2, 150, 10, absorbed ? 150 : 66, absorbed, {}, 0, 0}, {{0, 40, 0, 104}}, 40, 104);
  }
  add({9, 16, 8, 16, true, {}, 0, 0}, {{0, 1, 0, 130}, {1, 1, 130, 64}, {2, 0, 194, 3}}, 2, 200);
  return all;
}

std::string text(const Sizes& s) {
  return fmt::format("{} heads {}+{}/{}{}", s.heads, s.d_nope, s.d_rope, s.d_v, s.absorbed ? " absorbed" : "");
}

TEST(Attention, EqualsTheFormulaInEveryInstructionSet) {
  for (Isa isa : available_isas()) {
    OwnedExec owned(2, isa);
    for (DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      for (const Sizes& sizes : grid()) {
        const Problem problem(owned.exec, sizes, dtype);
        const Worst worst = compare(problem, problem.run(owned.exec), Naive(problem).solve());
        EXPECT_LE(worst.distance, tolerance(dtype))
            << worst.of << " of " << text(sizes) << " in " << dtype_name(dtype) << " on " << isa_name(isa);
      }
    }
  }
}

TEST(Attention, BackwardEqualsFiniteDifferencesOfTheReferenceForward) {
  OwnedExec owned(1, Isa::reference);
  for (bool absorbed : {false, true}) {
    const Sizes sizes{2, 4, 2, 4, absorbed, {{0, 5, 0, 7}, {5, 3, 7, 3}}, 8, 10};
    const Problem problem(owned.exec, sizes, DType::f64);
    const Results r = problem.run(owned.exec);
    auto loss = [&] {
      Results x;
      problem.forward(owned.exec, x);
      double sum = 0;
      for (int64_t i = 0; i < x.o.count(); ++i) sum += element(x.o, i) * element(problem.d_o, i);
      return sum;
    };
    auto slope = [&](const Tensor& input, int64_t flat) {
      const double x = element(input, flat), h = 1e-6;
      set_element(input, flat, x + h);
      const double above = loss();
      set_element(input, flat, x - h);
      const double below = loss();
      set_element(input, flat, x);
      return (above - below) / (2 * h);
    };
    for (int64_t row = 0; row < 8; ++row) {
      for (int64_t c = 0; c < r.dq.cols(); ++c) {
        EXPECT_NEAR(slope(problem.q, row * problem.q.cols() + c), element(r.dq, row * r.dq.cols() + c), 1e-8);
      }
    }
    for (int64_t row = 0; row < 10; ++row) {
      for (int64_t c = 0; c < problem.kv_cols(); ++c) {
        double want = element(r.dkv, row * r.dkv.cols() + c);
        if (absorbed) want += element(r.dv_latent, row * r.dv_latent.cols() + c);
        EXPECT_NEAR(slope(problem.kv, row * problem.kv.cols() + c), want, 1e-8);
      }
      for (int64_t c = 0; c < 2; ++c) {
        EXPECT_NEAR(slope(problem.k_rope, row * problem.k_rope.cols() + c), element(r.dk_rope, row * 2 + c), 1e-8);
      }
    }
  }
}

}  // namespace
}  // namespace hadal::attention_tests
