// Panels packed once: the product with them has the bits of the product with what was packed, in every instruction set.
#include "kernels/gemm_panels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/bf16.h"
#include "base/float_formats.h"
#include "kernels/gemm.h"

namespace hadal::kernels {
namespace {

// Numbers of many magnitudes, so that sums in another order differ.
std::vector<char> random_numbers(DType type, int64_t count, uint64_t seed) {
  std::vector<char> bytes(size_t(count * dtype_bytes(type)));
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    const float value = float(double(int64_t(seed) >> 11) * 0x1p-52);
    const bf16 half(value);
    if (type == DType::bf16)
      std::memcpy(bytes.data() + 2 * i, &half, 2);
    else
      std::memcpy(bytes.data() + 4 * i, &value, 4);
  }
  return bytes;
}

struct PanelSizes {
  int64_t m, n, k;
};

// Products of one weight [n, k] as it lies and as panels.
struct Comparison {
  Isa isa;
  DType a_type, b_type, c_type;
  bool add = false;
  int threads = 2;
  int64_t panel_cols = gemm_panel_cols(isa);

  std::vector<char> product(const PanelSizes& s, bool panels) const {
    Lane lane(threads, MemoryPool::create());
    const auto a = random_numbers(a_type, s.m * s.k, 1), b = random_numbers(b_type, s.n * s.k, 2);
    auto c = random_numbers(c_type, s.m * s.n, 3);
    std::vector<char> packed(size_t(gemm_panel_bytes(panel_type_of(b_type), s.k, s.n, panel_cols)), 0x55);
    pack_panels({.b = b.data(),
                 .b_row = 1,
                 .b_col = s.k,
                 .k = s.k,
                 .n = s.n,
                 .from = b_type,
                 .type = panel_type_of(b_type),
                 .panels = packed.data(),
                 .panel_cols = panel_cols,
                 .lane = &lane});
    const GemmProduct one{a.data(), panels ? packed.data() : b.data(), c.data(), s.m, s.n, s.k};
    Gemm args{.products = &one, .n_products = 1, .a_type = a_type, .b_type = b_type, .c_type = c_type};
    args.a_row = s.k, args.b_row = 1, args.b_col = s.k, args.c_row = s.n;
    args.b_is_panels = panels, args.add = add, args.lane = &lane;
    gemm({.isa = isa}, args);
    return c;
  }
  bool same(const PanelSizes& s) const { return product(s, true) == product(s, false); }
};

std::string text(const Comparison& c, const PanelSizes& s) {
  return std::string(isa_name(c.isa)) + " " + dtype_name(c.a_type) + " x " + dtype_name(c.b_type) + " m " +
         std::to_string(s.m) + " n " + std::to_string(s.n) + " k " + std::to_string(s.k) + (c.add ? " add" : "");
}

TEST(GemmPanels, HaveTheBitsOfTheUnpackedProduct) {
  for (Isa isa : available_isas()) {
    for (int types = 0; types < 8; ++types) {
      const auto type = [&](int bit) { return types >> bit & 1 ? DType::bf16 : DType::f32; };
      for (bool add : {false, true}) {
        const Comparison c{isa, type(0), type(1), type(2), add};
        for (int64_t m : {1, 2, 3, 5, 7, 13, 64}) {
          for (int64_t n : {1, 16, 33, 150}) {
            for (int64_t k : {1, 2, 127, 128, 129, 391}) ASSERT_TRUE(c.same({m, n, k})) << text(c, {m, n, k});
          }
        }
      }
    }
  }
}

TEST(GemmPanels, HaveTheBitsOfTheUnpackedProductWhereItIsCutIntoBlocks) {
  for (Isa isa : available_isas()) {
    for (DType type : {DType::f32, DType::bf16}) {
      const Comparison c{isa, type, type, type, false, 4};
      // Rows beyond a block, columns beyond a block, K beyond what packed rows of A find room for.
      for (const PanelSizes& s : {PanelSizes{700, 70, 130}, PanelSizes{3, 1100, 260}, PanelSizes{1, 40, 8192 + 300},
                                  PanelSizes{5, 20, 4096 + 129}})
        ASSERT_TRUE(c.same(s)) << text(c, s);
    }
  }
}

TEST(GemmPanels, TakeManyProductsAtOnce) {
  const int64_t n = 90, k = 200, rows[] = {0, 1, 3, 64, 0, 12};
  for (Isa isa : available_isas()) {
    Lane lane(3, MemoryPool::create());
    const int64_t width = gemm_panel_cols(isa), size = gemm_panel_bytes(PanelType::bf16, k, n, width) / 2;
    const auto a = random_numbers(DType::bf16, 80 * k, 5), b = random_numbers(DType::bf16, 6 * n * k, 6);
    std::vector<uint16_t> packed(size_t(6 * size));
    std::vector<float> results[2] = {std::vector<float>(80 * n), std::vector<float>(80 * n)};
    for (bool panels : {false, true}) {
      std::vector<GemmProduct> products;
      int64_t first = 0;
      for (int64_t e = 0; e < 6; first += rows[e++]) {
        const auto* w = reinterpret_cast<const uint16_t*>(b.data()) + e * n * k;
        pack_panels({w, 1, k, k, n, DType::bf16, PanelType::bf16, packed.data() + e * size, width, &lane});
        products.push_back({reinterpret_cast<const uint16_t*>(a.data()) + first * k,
                            panels ? packed.data() + e * size : w, results[panels].data() + first * n, rows[e], n, k});
      }
      Gemm args{.products = products.data(), .n_products = 6, .a_type = DType::bf16, .b_type = DType::bf16};
      args.a_row = k, args.b_row = 1, args.b_col = k, args.c_row = n, args.b_is_panels = panels, args.lane = &lane;
      gemm({.isa = isa}, args);
    }
    EXPECT_EQ(std::memcmp(results[0].data(), results[1].data(), 80 * n * sizeof(float)), 0) << isa_name(isa);
  }
}

TEST(GemmPanels, OfAnotherWidthAreSeenByTheBitTests) {  // negative control
  for (Isa isa : available_isas()) {
    Comparison c{isa, DType::f32, DType::f32, DType::f32};
    c.panel_cols = 48;
    EXPECT_FALSE(c.same({3, 96, 64})) << isa_name(isa);
  }
}

TEST(GemmPanels, LieAsTheHeaderSays) {
  Lane lane(1, MemoryPool::create());
  for (DType type : {DType::f32, DType::bf16}) {
    const int64_t k = 5, n = 37, width = 16, size = dtype_bytes(type);
    const auto b = random_numbers(type, k * n, 9);
    std::vector<char> packed(size_t(gemm_panel_bytes(panel_type_of(type), k, n, width)));
    pack_panels(
        {b.data(), n, 1, k, n, type, panel_type_of(type), packed.data(), width, &lane});  // rows of B lie along n here
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < n; ++j)
        ASSERT_EQ(
            std::memcmp(b.data() + (i * n + j) * size,
                        packed.data() + gemm_panel_index(panel_type_of(type), i, j, k, width) * size, size_t(size)),
            0);
    }
  }
}

// Codes [n, k] of every kind with a scale per block, and the product of a row with them as kernels/gemm.h says.
struct Codes {
  int64_t n, k;
  std::vector<uint8_t> codes;
  std::vector<float> scales;

  Codes(int64_t n, int64_t k) : n(n), k(k), codes(size_t(n * k)), scales(size_t(blocks(n) * blocks(k))) {
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = uint8_t(i * 167 + i / 128 * 13);
    for (uint8_t& code : codes) code = (code & 0x7f) == 0x7f ? 0x03 : code;  // a subnormal for a NaN
    for (size_t i = 0; i < scales.size(); ++i) scales[i] = 0.001f * float(i + 1);
  }
  static int64_t blocks(int64_t size) { return (size + kFp8Block - 1) / kFp8Block; }
  float code(int64_t row, int64_t col) const {
    e4m3 value;
    value.bits = codes[size_t(row * k + col)];
    return float(value);
  }
  float product(const std::vector<float>& x, int64_t row, int64_t col) const {
    float total = 0;
    for (int64_t chunk = 0; chunk < k; chunk += kGemmChunk) {
      float sum = 0;
      for (int64_t i = chunk; i < std::min(k, chunk + kGemmChunk); ++i)
        sum = std::fmaf(x[size_t(row * k + i)], code(col, i), sum);
      const float scaled = sum * scales[size_t(col / kFp8Block * blocks(k) + chunk / kFp8Block)];
      total = chunk == 0 ? scaled : total + scaled;
    }
    return total;
  }
  // x holds m rows of f32 or bf16.
  template <class T>
  std::vector<float> product_of(Isa isa, const std::vector<T>& x, int64_t m, int threads = 2) const {
    return multiplied(isa, x, m, threads, DType::f8_e4m3, codes.data());
  }
  // The product with the values that codes and scales stand for.
  std::vector<float> product_of_values(Isa isa, const std::vector<bf16>& x, int64_t m) const {
    std::vector<bf16> values(codes.size());
    for (int64_t i = 0; i < n * k; ++i)
      values[size_t(i)] = bf16(code(i / k, i % k) * scales[size_t(i / k / kFp8Block * blocks(k) + i % k / kFp8Block)]);
    return multiplied(isa, x, m, 2, DType::bf16, values.data());
  }

 private:
  template <class T>
  std::vector<float> multiplied(Isa isa, const std::vector<T>& x, int64_t m, int threads, DType type,
                                const void* b) const {
    Lane lane(threads, MemoryPool::create());
    const int64_t width = gemm_panel_cols(isa);
    std::vector<char> packed(size_t(gemm_panel_bytes(panel_type_of(type), k, n, width)), 0x55);
    pack_panels({b, 1, k, k, n, type, panel_type_of(type), packed.data(), width, &lane});
    std::vector<float> c(size_t(m * n), -1);
    const GemmProduct one{x.data(), packed.data(), c.data(), m, n, k, type == DType::f8_e4m3 ? scales.data() : nullptr};
    Gemm args{.products = &one, .n_products = 1, .a_type = sizeof(T) == 2 ? DType::bf16 : DType::f32, .b_type = type};
    args.a_row = k, args.c_row = n, args.b_is_panels = true, args.lane = &lane;
    gemm({.isa = isa}, args);
    return c;
  }
};

std::vector<float> random_rows(int64_t count) {
  const auto bytes = random_numbers(DType::f32, count, 4);
  std::vector<float> values(static_cast<size_t>(count));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(GemmPanels, OfCodesAreMultipliedAsTheHeaderSays) {
  for (const Isa isa : available_isas()) {
    for (const int64_t k : {1, 2, 3, 5, 128, 131, 400}) {
      for (const int64_t n : {1, 40, 300}) {
        const Codes w(n, k);
        for (const int64_t m : {1, 2, 5, 13, 30}) {
          const auto x = random_rows(m * k);
          const auto c = w.product_of(isa, x, m);
          for (int64_t i = 0; i < m * n; ++i) {
            const float expected = w.product(x, i / n, i % n);
            if (isa == Isa::reference) {
              ASSERT_NEAR(c[size_t(i)], expected, 1e-3 * std::fabs(expected) + 1e-3);
            } else {
              ASSERT_EQ(c[size_t(i)], expected) << isa_name(isa) << " m " << m << " n " << n << " k " << k << " " << i;
            }
          }
        }
      }
    }
  }
}

template <class T>
void expect_the_same_rows(Isa isa, const Codes& w, const std::vector<T>& x, int64_t most) {
  const auto all = w.product_of(isa, x, most, 1);
  for (int64_t m = 1; m < most; m += m < 20 ? 1 : 23) {
    const auto some = w.product_of(isa, x, m);
    ASSERT_EQ(std::memcmp(some.data(), all.data(), some.size() * 4), 0) << isa_name(isa) << " " << m;
  }
}

std::vector<bf16> random_bf16_rows(int64_t count) {
  const auto bytes = random_numbers(DType::bf16, count, 4);
  std::vector<bf16> values(static_cast<size_t>(count));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(GemmPanels, OfCodesGiveARowTheSameBitsAmongAnyNumberOfRows) {
  const int64_t n = 150, k = 391, most = 130;
  const Codes w(n, k);
  for (const Isa isa : available_isas()) {
    expect_the_same_rows(isa, w, random_rows(most * k), most);
    expect_the_same_rows(isa, w, random_bf16_rows(most * k), most);
  }
}

// With scales that are powers of two the product of codes is that of the values, whose chunks are sums of the same
// numbers times a power of two. (On AMX values have no chunks: it is so up to one.)
TEST(GemmPanels, OfCodesWithPowersOfTwoForScalesHaveTheBitsOfTheProductOfTheirValues) {
  enum { all_codes, no_subnormal, subnormals_alone, few_subnormals, kinds };
  for (const Isa isa : available_isas()) {
    for (int kind = 0; kind < kinds; ++kind) {
      for (const int64_t k : {1, 3, 100, 131, 391, 4700}) {
        if (isa == Isa::avx512_amx && k > kGemmChunk) continue;
        if (k == 4700 && kind != few_subnormals) continue;  // beyond what packed rows find room for
        Codes w(150, k);
        for (size_t i = 0; i < w.scales.size(); ++i) w.scales[i] = std::ldexp(1.0f, int(i % 7) - 9);
        for (size_t i = 0; i < w.codes.size(); ++i) {
          uint8_t& code = w.codes[i];
          if (kind == no_subnormal || (kind == few_subnormals && i % 301 != 0)) code |= 0x10;
          if (kind == subnormals_alone) code &= 0x87;
          if ((code & 0x7f) == 0x7f) code &= 0xf0;
        }
        for (const int64_t m : {1, 3, 6, 12, 64}) {
          if (k == 4700 && m > 6) continue;
          const auto x = random_bf16_rows(m * k);
          ASSERT_EQ(w.product_of(isa, x, m), w.product_of_values(isa, x, m))
              << isa_name(isa) << " kind " << kind << " k " << k << " m " << m;
        }
      }
    }
  }
}

TEST(GemmPanels, OfCodesMarkTheLinesWithSubnormals) {
  Lane lane(2, MemoryPool::create());
  constexpr int64_t k = 1300, n = 70, width = 32, lines = k / 4;
  std::vector<uint8_t> codes(size_t(k * n), 0x38);
  const auto put = [&](int64_t row, int64_t col, uint8_t code) { codes[size_t(col * k + row)] = code; };
  put(0, 0, 0x07), put(131, 31, 0x80), put(1299, 64, 0x01), put(640, 33, 0x08);  // the last is normal
  std::vector<uint32_t> packed(size_t(gemm_panel_bytes(PanelType::fp8, k, n, width) / 4), 0x55555555);
  pack_panels({codes.data(), 1, k, k, n, DType::f8_e4m3, PanelType::fp8, packed.data(), width, &lane});
  const auto marks = [&](int64_t panel, int64_t chunk) {
    return packed[size_t(panel * (gemm_panel_stride(PanelType::fp8, k, width) / 4) + lines * width + chunk)];
  };
  for (int64_t chunk = 0; chunk < 11; ++chunk) {
    EXPECT_EQ(marks(0, chunk), chunk < 2 ? 1u : 0u) << chunk;
    EXPECT_EQ(marks(1, chunk), 0u) << chunk;
  }
  for (int64_t chunk = 0; chunk < 10; ++chunk) EXPECT_EQ(marks(2, chunk), 0xffffffffu) << chunk;  // zeros past n
}

TEST(GemmPanels, OfCodesCanBeReadBack) {
  Lane lane(2, MemoryPool::create());
  const Codes w(70, 1300);
  for (const int64_t width : {16, 32}) {
    std::vector<char> packed(size_t(gemm_panel_bytes(PanelType::fp8, w.k, w.n, width)), 0x55);
    pack_panels({w.codes.data(), 1, w.k, w.k, w.n, DType::f8_e4m3, PanelType::fp8, packed.data(), width, &lane});
    for (int64_t n = 0; n < w.n; ++n) {
      for (int64_t k = 0; k < w.k; ++k)
        ASSERT_EQ(panel_code(packed.data(), k, n, w.k, width), w.codes[size_t(n * w.k + k)]);
    }
  }
}

}  // namespace
}  // namespace hadal::kernels
