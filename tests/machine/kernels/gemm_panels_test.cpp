// Panels packed once: the product with them has the bits of the product with what was packed, in every instruction set.
#include "kernels/gemm_panels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/bf16.h"
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
    std::vector<char> packed(size_t(gemm_panel_elements(b_type, s.k, s.n, panel_cols) * dtype_bytes(b_type)), 0x55);
    pack_panels({.b = b.data(),
                 .b_row = 1,
                 .b_col = s.k,
                 .k = s.k,
                 .n = s.n,
                 .type = b_type,
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
    const int64_t width = gemm_panel_cols(isa), size = gemm_panel_elements(DType::bf16, k, n, width);
    const auto a = random_numbers(DType::bf16, 80 * k, 5), b = random_numbers(DType::bf16, 6 * n * k, 6);
    std::vector<uint16_t> packed(size_t(6 * size));
    std::vector<float> results[2] = {std::vector<float>(80 * n), std::vector<float>(80 * n)};
    for (bool panels : {false, true}) {
      std::vector<GemmProduct> products;
      int64_t first = 0;
      for (int64_t e = 0; e < 6; first += rows[e++]) {
        const auto* w = reinterpret_cast<const uint16_t*>(b.data()) + e * n * k;
        pack_panels({w, 1, k, k, n, DType::bf16, packed.data() + e * size, width, &lane});
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
    std::vector<char> packed(size_t(gemm_panel_elements(type, k, n, width) * size));
    pack_panels({b.data(), n, 1, k, n, type, packed.data(), width, &lane});  // rows of B lie along n here
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < n; ++j)
        ASSERT_EQ(std::memcmp(b.data() + (i * n + j) * size,
                              packed.data() + gemm_panel_index(type, i, j, k, width) * size, size_t(size)),
                  0);
    }
  }
}

}  // namespace
}  // namespace hadal::kernels
