#include "ops/pointwise.h"
#include "ops/rows_fixture.h"

namespace hadal {
namespace {
using namespace rows_test;

Mat angle_table(int64_t positions, int64_t d) {
  Mat table(positions, d);
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t i = 0; i < d; i += 2) {
      const double angle = double(p) * std::pow(10000.0, -double(i) / double(d));
      table.at(p, i) = std::cos(angle), table.at(p, i + 1) = std::sin(angle);
    }
  return table;
}

TEST(Rope, TurnsInterleavedPairsOfEveryHeadByTheRowsPosition) {
  each_kind([](const Exec& exec, DType dtype) {
    for (int64_t d : {2, 6, 16, 20, 64}) {
      const int64_t heads = 3, gap = 5, rows = 10;
      Mat table = angle_table(40, d), x = random_mat(rows, heads * (d + gap), 1);
      Tensor ttable = make(exec, wide(dtype), table);
      View tx(exec, dtype, x);
      std::vector<int32_t> positions;
      for (int64_t r = 0; r < rows; ++r) positions.push_back(int32_t((r * 7 + 3) % 40));
      Mat want = x;  // columns between the heads stay
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t h = 0; h < heads; ++h)
          for (int64_t i = 0; i < d; i += 2) {
            const int64_t at = h * (d + gap) + gap + i;
            const double a = x.at(r, at), b = x.at(r, at + 1);
            const double c = table.at(positions[size_t(r)], i), s = table.at(positions[size_t(r)], i + 1);
            want.at(r, at) = a * c - b * s, want.at(r, at + 1) = b * c + a * s;
          }
      ops::RopeArgs args{.x = tx.view.col_range(gap, heads * (d + gap) - gap),
                         .n_heads = heads,
                         .head_stride = d + gap,
                         .d_rope = d,
                         .table = ttable,
                         .positions = i32(positions)};
      ops::rope(exec, args);
      expect_close(read(tx.view), want, tolerance(dtype), "rotated", dtype == DType::f64 ? 1e-14 : 1e-6);
      tx.expect_surroundings_untouched();
      args.inverse = true;
      ops::rope(exec, args);
      expect_close(read(tx.view), x, tolerance(dtype), "turned back",
                   dtype == DType::bf16  ? 0.02
                   : dtype == DType::f16 ? 0.003
                                         : 1e-6);
    }
  });
}

TEST(Rope, TableHoldsCosineAndSineOfPositionTimesFrequencyTimesTheMultiplier) {
  for (Isa isa : available_isas()) {
    OwnedExec owned(2, isa);
    const std::vector<double> frequencies = {1.0, 0.1, 0.001};
    for (DType dtype : {DType::f64, DType::f32}) {
      const Tensor table = Tensor::empty(owned.exec, dtype, {500, 6});
      ops::rope_table(owned.exec, table, frequencies, 1.25);
      for (int64_t p : {0, 1, 77, 499})
        for (int64_t i = 0; i < 3; ++i) {
          const double angle = double(p) * frequencies[size_t(i)], unit = dtype == DType::f64 ? 0 : 1e-7;
          EXPECT_NEAR(element(table, p * 6 + 2 * i), 1.25 * std::cos(angle), unit);
          EXPECT_NEAR(element(table, p * 6 + 2 * i + 1), 1.25 * std::sin(angle), unit);
        }
    }
  }
}

TEST(Rope, KeepsTheLengthOfPairsAndDependsOnDistanceOnly) {
  OwnedExec owned(1, Isa::reference);
  const Exec& exec = owned.exec;
  Mat table = angle_table(64, 8), q = random_mat(1, 8, 1), k = random_mat(1, 8, 2);
  Tensor ttable = make(exec, DType::f64, table);
  const auto score = [&](int32_t at_q, int32_t at_k) {
    Tensor tq = make(exec, DType::f64, q), tk = make(exec, DType::f64, k);
    ops::rope(exec, {.x = tq, .d_rope = 8, .table = ttable, .positions = i32({at_q})});
    ops::rope(exec, {.x = tk, .d_rope = 8, .table = ttable, .positions = i32({at_k})});
    return dot(read(tq), read(tk));
  };
  EXPECT_NEAR(score(9, 4), score(55, 50), 1e-12);
  EXPECT_GT(std::fabs(score(9, 4) - score(9, 5)), 1e-3);
}

TEST(Rope, HasTheSameBitsWithAnyNumberOfThreads) {
  expect_thread_independent([](const Exec& exec) {
    Mat table = angle_table(50, 16), x = random_mat(777, 64, 1);
    Tensor ttable = make(exec, DType::f32, table), tx = make(exec, DType::f32, x);
    std::vector<int32_t> positions(777);
    for (size_t i = 0; i < positions.size(); ++i) positions[i] = int32_t(i % 50);
    ops::rope(exec,
              {.x = tx, .n_heads = 4, .head_stride = 16, .d_rope = 16, .table = ttable, .positions = i32(positions)});
    return bytes_of(exec, tx);
  });
}

TEST(Rope, RefusesOddSizesAndPositionsOutsideTheTable) {
  OwnedExec owned(1);
  const Exec& exec = owned.exec;
  Mat table = angle_table(5, 4);
  Tensor ttable = make(exec, DType::f32, table), x = Tensor::zeros(exec, DType::f32, {2, 4});
  const Tensor positions = i32({4, 5});
  EXPECT_EQ(error_of([&] { ops::rope(exec, {.x = x, .d_rope = 4, .table = ttable, .positions = positions}); }),
            "rope: position of row 1 is 5, expected 0 to 4");
  EXPECT_EQ(error_of([&] { ops::rope(exec, {.x = x, .d_rope = 3, .table = ttable, .positions = positions}); }),
            "rope rotates pairs: d_rope is 3, expected an even size");
}

}  // namespace
}  // namespace hadal
