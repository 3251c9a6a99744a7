// Products with int8 and int4 panels: the bits of the reference on every instruction set, a row's bits whatever its
// neighbours, and the error that rounding to so many bits may make.
#include "kernels/integer_gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/bf16.h"

namespace hadal::kernels {
namespace {

std::vector<float> random_floats(int64_t count, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    value = float(double(int64_t(seed) >> 11) * 0x1p-52);
  }
  return values;
}
std::vector<bf16> narrowed(const std::vector<float>& values) {
  std::vector<bf16> result;
  for (const float value : values) result.push_back(bf16(value));
  return result;
}

std::vector<IntegerGroup> rounded_rows(Isa isa, const void* x, DType type, int64_t rows, int64_t cols) {
  Lane lane(2, MemoryPool::create());
  std::vector<IntegerGroup> to(size_t(rows * integer_groups(cols)));
  std::memset(static_cast<void*>(to.data()), 0x55, to.size() * sizeof(IntegerGroup));
  integer_rows({.isa = isa}, {{const_cast<void*>(x), cols, type}, rows, cols, to.data(), &lane});
  return to;
}

struct Sizes {
  int64_t m, n, k;
};

// C of random x [m, k] and w [n, k].
struct Case {
  PanelType type;
  bool bf16_out = false, add = false;
  int threads = 2;

  std::vector<char> product(Isa isa, const Sizes& s, const std::vector<float>& x, const std::vector<float>& w) const {
    Lane lane(threads, MemoryPool::create());
    const int64_t width = gemm_panel_cols(isa);
    std::vector<char> panels(size_t(gemm_panel_bytes(type, s.k, s.n, width)), 0x55);
    pack_panels({w.data(), 1, s.k, s.k, s.n, DType::f32, type, panels.data(), width, &lane});
    const auto rows = rounded_rows(isa, x.data(), DType::f32, s.m, s.k);
    const auto start = random_floats(s.m * s.n, 7);
    const auto narrow = narrowed(start);
    const size_t size = bf16_out ? 2 : 4;
    std::vector<char> c(start.size() * size);
    std::memcpy(c.data(), bf16_out ? static_cast<const void*>(narrow.data()) : start.data(), c.size());
    const IntegerProduct one{rows.data(), panels.data(), c.data(), s.m, s.n, s.k};
    integer_gemm({.isa = isa}, {&one, 1, type, bf16_out ? DType::bf16 : DType::f32, s.n, add, &lane});
    return c;
  }
};

std::string text(const Case& c, Isa isa, const Sizes& s) {
  return std::string(isa_name(isa)) + " " + panel_type_name(c.type) + " m " + std::to_string(s.m) + " n " +
         std::to_string(s.n) + " k " + std::to_string(s.k) + (c.add ? " add" : "") + (c.bf16_out ? " bf16" : "");
}

constexpr PanelType kTypes[] = {PanelType::int8, PanelType::int4};

TEST(IntegerRows, HaveTheBitsOfTheReference) {
  for (const int64_t cols : {1, 31, 32, 33, 200}) {
    auto x = random_floats(3 * cols, 5);
    x[size_t(cols)] = 100;  // a group of its own scale
    const auto narrow = narrowed(x);
    const auto expected = rounded_rows(Isa::reference, x.data(), DType::f32, 3, cols);
    const auto expected_narrow = rounded_rows(Isa::reference, narrow.data(), DType::bf16, 3, cols);
    for (const Isa isa : available_isas()) {
      const auto one = rounded_rows(isa, x.data(), DType::f32, 3, cols);
      const auto two = rounded_rows(isa, narrow.data(), DType::bf16, 3, cols);
      EXPECT_EQ(std::memcmp(one.data(), expected.data(), one.size() * sizeof(IntegerGroup)), 0) << isa_name(isa);
      EXPECT_EQ(std::memcmp(two.data(), expected_narrow.data(), two.size() * sizeof(IntegerGroup)), 0) << isa_name(isa);
    }
  }
}

TEST(IntegerRows, RoundToNearestAndKeepZerosNansAndInfinities) {
  std::vector<float> x(128, 0.0f);
  x[0] = -127, x[1] = 63.5f, x[2] = 62.5f, x[3] = 0.4f;  // halves to even
  x[32 + 5] = std::nanf(""), x[64 + 1] = INFINITY;
  for (const Isa isa : available_isas()) {
    const auto groups = rounded_rows(isa, x.data(), DType::f32, 1, 128);
    EXPECT_EQ(groups[0].scale, 1.0f);
    EXPECT_EQ(groups[0].q[0], -127);
    EXPECT_EQ(groups[0].q[1], 64);
    EXPECT_EQ(groups[0].q[2], 62);
    EXPECT_EQ(groups[0].q[3], 0);
    EXPECT_EQ(groups[0].sum, -127 + 64 + 62);
    EXPECT_TRUE(std::isnan(groups[1].scale) && std::isnan(groups[2].scale)) << isa_name(isa);
    EXPECT_EQ(groups[1].sum, 0);
    EXPECT_EQ(groups[3].scale, 0.0f);
  }
}

TEST(IntegerPanels, GiveBackWhatWasRounded) {
  const int64_t k = 70, n = 20, width = 16;
  const auto w = random_floats(n * k, 3);
  Lane lane(1, MemoryPool::create());
  for (const PanelType type : kTypes) {
    std::vector<uint8_t> panels(size_t(gemm_panel_bytes(type, k, n, width)), 0x55);
    pack_panels({w.data(), 1, k, k, n, DType::f32, type, panels.data(), width, &lane});
    const int64_t groups = integer_groups(k), bytes = integer_group_bytes(type, width);
    for (int64_t col = 0; col < 2 * width; ++col) {
      for (int64_t g = 0; g < groups; ++g) {
        int8_t q[kIntegerGroup];
        float scale;
        integer_group_values(type, panels.data() + (col / width * groups + g) * bytes, col % width, width, q, &scale);
        const double step = std::fabs(scale) * (type == PanelType::int8 ? 0.505 : 1.01);  // -8 .. 7: one end is clamped
        for (int64_t i = 0; i < kIntegerGroup; ++i) {
          const int64_t at = g * kIntegerGroup + i;
          const float value = col < n && at < k ? w[size_t(col * k + at)] : 0.0f;
          ASSERT_NEAR(scale * float(q[i]), value, step + 1e-9) << panel_type_name(type) << " " << col << " " << at;
        }
      }
    }
  }
}

TEST(IntegerGemm, HasTheBitsOfTheReferenceOnEveryInstructionSet) {
  for (const PanelType type : kTypes) {
    for (const bool bf16_out : {false, true}) {
      for (const bool add : {false, true}) {
        const Case c{type, bf16_out, add};
        for (const int64_t m : {1, 2, 3, 5, 7, 13}) {
          for (const int64_t n : {1, 33, 70}) {
            for (const int64_t k : {1, 32, 100, 600}) {
              const auto x = random_floats(m * k, 1), w = random_floats(n * k, 2);
              const auto expected = c.product(Isa::reference, {m, n, k}, x, w);
              for (const Isa isa : available_isas())
                ASSERT_TRUE(c.product(isa, {m, n, k}, x, w) == expected) << text(c, isa, {m, n, k});
            }
          }
        }
      }
    }
  }
}

TEST(IntegerGemm, GivesARowTheSameBitsAmongAnyNumberOfRows) {
  const int64_t n = 40, k = 260, most = 450;
  const auto x = random_floats(most * k, 1), w = random_floats(n * k, 2);
  for (const Isa isa : available_isas()) {
    for (const PanelType type : kTypes) {
      const Case c{type};
      const auto all = c.product(isa, {most, n, k}, x, w);
      for (int64_t m : {1, 2, 3, 4, 5, 6, 7, 11, 16, 17, 64, 130, 200}) {
        const auto some = c.product(isa, {m, n, k}, x, w);
        ASSERT_EQ(std::memcmp(some.data(), all.data(), some.size()), 0) << text(c, isa, {m, n, k});
      }
    }
  }
}

TEST(IntegerGemm, TakesExtremesExactly) {
  // Every byte at an end: the widest sums there are, where 16 bits would saturate.
  const int64_t n = 32, k = 64;
  for (const PanelType type : kTypes) {
    for (const float sign : {-1.0f, 1.0f}) {
      const std::vector<float> x(size_t(2 * k), 127.0f), w(size_t(n * k), sign * 127.0f);
      const Case c{type};
      const auto expected = c.product(Isa::reference, {2, n, k}, x, w);
      for (const Isa isa : available_isas()) {
        const auto got = c.product(isa, {2, n, k}, x, w);
        float first;
        std::memcpy(&first, got.data(), 4);
        EXPECT_NEAR(first, sign * 127.0f * 127.0f * float(k), 300.0f) << text(c, isa, {2, n, k});
        EXPECT_TRUE(got == expected) << text(c, isa, {2, n, k});
      }
    }
  }
}

TEST(IntegerGemm, IsAsNearToTheProductAsItsBitsAllow) {
  const int64_t m = 4, n = 50, k = 512;
  const auto x = random_floats(m * k, 1), w = random_floats(n * k, 2);
  for (const PanelType type : kTypes) {
    const auto got = Case{type}.product(available_isas().back(), {m, n, k}, x, w);
    double error = 0, size = 0;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double exact = 0;
        for (int64_t p = 0; p < k; ++p) exact += double(x[size_t(i * k + p)]) * w[size_t(j * k + p)];
        float value;
        std::memcpy(&value, got.data() + (i * n + j) * 4, 4);
        error += (value - exact) * (value - exact), size += exact * exact;
      }
    }
    const double relative = std::sqrt(error / size);
    EXPECT_LT(relative, type == PanelType::int8 ? 0.01 : 0.15) << panel_type_name(type);
    EXPECT_GT(relative, type == PanelType::int8 ? 0.0005 : 0.02) << panel_type_name(type);  // it is rounded at all
  }
}

TEST(IntegerGemm, MakesNansOfNansAlone) {
  const int64_t n = 33, k = 96;
  auto x = random_floats(3 * k, 1);
  x[size_t(k + 40)] = std::nanf("");
  const auto w = random_floats(n * k, 2);
  for (const Isa isa : available_isas()) {
    const auto got = Case{PanelType::int8}.product(isa, {3, n, k}, x, w);
    for (int64_t i = 0; i < 3 * n; ++i) {
      float value;
      std::memcpy(&value, got.data() + 4 * i, 4);
      ASSERT_EQ(std::isnan(value), i / n == 1) << isa_name(isa) << " " << i;
    }
  }
}

TEST(IntegerGemm, TakesManyProductsAtOnceAndAnyNumberOfThreads) {
  const int64_t n = 90, k = 200, rows[] = {0, 1, 3, 64, 0, 12};
  const auto x = random_floats(80 * k, 5);
  for (const Isa isa : available_isas()) {
    for (const PanelType type : kTypes) {
      std::vector<float> together(80 * size_t(n));
      const int64_t width = gemm_panel_cols(isa), bytes = gemm_panel_bytes(type, k, n, width);
      std::vector<char> panels(size_t(6 * bytes));
      Lane lane(3, MemoryPool::create());
      const auto a = rounded_rows(isa, x.data(), DType::f32, 80, k);
      std::vector<IntegerProduct> products;
      std::vector<char> apart;
      int64_t first = 0;
      for (int64_t e = 0; e < 6; first += rows[e++]) {
        const auto w = random_floats(n * k, uint64_t(10 + e));
        pack_panels({w.data(), 1, k, k, n, DType::f32, type, panels.data() + e * bytes, width, &lane});
        products.push_back({a.data() + first * integer_groups(k), panels.data() + e * bytes,
                            together.data() + first * n, rows[e], n, k});
        const std::vector<float> own(x.begin() + first * k, x.begin() + (first + rows[e]) * k);
        const auto one = Case{type, false, false, 1}.product(isa, {rows[e], n, k}, own, w);
        apart.insert(apart.end(), one.begin(), one.end());
      }
      integer_gemm({.isa = isa}, {products.data(), 6, type, DType::f32, n, false, &lane});
      EXPECT_EQ(std::memcmp(together.data(), apart.data(), apart.size()), 0) << isa_name(isa);
    }
  }
}

}  // namespace
}  // namespace hadal::kernels
