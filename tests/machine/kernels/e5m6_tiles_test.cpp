// E5M6 codes and their values of every instruction set are those of the formula, bit by bit.
#include "kernels/e5m6_tiles.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/random.h"
#include "kernels/places_fixture.h"

namespace hadal::kernels {
namespace {

template <class T>
struct Coded {
  std::vector<uint8_t> upper, lower, scales;
  std::vector<T> back;
};

template <class T>
Coded<T> coded(Isa isa, std::vector<T> values, int64_t rows, int64_t cols) {
  const kernels_test::ExecAt at({isa}, 2);
  const int64_t pairs = (cols + 1) / 2, tiles = (cols + kE5m6Tile - 1) / kE5m6Tile;
  Coded<T> r{std::vector<uint8_t>(size_t(rows * cols)), std::vector<uint8_t>(size_t(rows * pairs)),
             std::vector<uint8_t>(size_t(rows * tiles)), std::vector<T>(values.size())};
  E5m6Tiles args{.values = {values.data(), cols, dtype_of<T>()},
                 .upper = r.upper.data(),
                 .lower = r.lower.data(),
                 .scales = r.scales.data(),
                 .upper_stride = cols,
                 .lower_stride = pairs,
                 .scales_stride = tiles,
                 .rows = rows,
                 .cols = cols,
                 .lane = at.exec.compute};
  e5m6_encode(at.twin(), args);
  args.values.data = r.back.data();
  e5m6_decode(at.twin(), args);
  return r;
}

// Rows of many magnitudes, of zeros, below FP32's normal numbers, with a NaN, with an infinity.
template <class T>
void expect_the_formula(int64_t cols) {
  constexpr int64_t kRows = 13;
  std::vector<T> values;
  for (int64_t i = 0; i < kRows * cols; ++i) {
    const int64_t row = i / cols;
    const double size = row == 1 ? 0 : row == 2 ? 1e-40 : std::exp2(double(random_below(5, 1, uint64_t(i), 40)) - 30);
    values.push_back(T(float(size * random_normal(3, 2, uint64_t(i)))));
  }
  values[size_t(3 * cols + cols / 2)] = T(std::numeric_limits<float>::quiet_NaN());
  values[size_t(4 * cols)] = T(std::numeric_limits<float>::infinity());
  const auto formula = coded(Isa::reference, values, kRows, cols);
  for (const Isa isa : available_isas()) {
    const auto fast = coded(isa, values, kRows, cols);
    EXPECT_EQ(fast.upper, formula.upper) << isa_name(isa) << " " << cols;
    EXPECT_EQ(fast.lower, formula.lower) << isa_name(isa) << " " << cols;
    EXPECT_EQ(fast.scales, formula.scales) << isa_name(isa) << " " << cols;
    for (size_t i = 0; i < formula.back.size(); ++i) {
      if (std::isnan(float(formula.back[i]))) {
        ASSERT_TRUE(std::isnan(float(fast.back[i]))) << isa_name(isa) << " " << i;
      } else {
        ASSERT_EQ(std::memcmp(&fast.back[i], &formula.back[i], sizeof(T)), 0) << isa_name(isa) << " " << i;
      }
    }
  }
}

TEST(E5m6Tiles, AreTheFormulasOnEveryInstructionSet) {
  for (const int64_t cols : {1, 7, 16, 127, 128, 200, 333}) {
    expect_the_formula<float>(cols);
    expect_the_formula<bf16>(cols);
  }
}

}  // namespace
}  // namespace hadal::kernels
