// Products of bf16 on AMX tiles have the bits that kernels/gemm.h says, worked out here with scalars.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/bf16.h"
#include "base/float_formats.h"
#include "kernels/gemm.h"
#include "kernels/gemm_panels.h"

namespace hadal::kernels {
namespace {

// Numbers of many magnitudes, so that sums in another order differ.
std::vector<bf16> numbers(int64_t count, uint64_t seed) {
  std::vector<bf16> values;
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    values.emplace_back(std::ldexp(float(int64_t(seed) >> 40) * 0x1p-23f, int(seed >> 20 & 15) - 8));
  }
  return values;
}

// A row by a column: 32 k at a time, even and odd ones apart.
template <class A, class B>
float tiled_sum(float total, int64_t begin, int64_t end, const A& a, const B& b) {
  for (int64_t k = begin; k < end; k += 32) {
    float even = 0, odd = 0;
    for (int64_t i = k; i < std::min(end, k + 32); i += 2) {
      even = std::fmaf(a(i), b(i), even);
      odd = i + 1 < end ? std::fmaf(a(i + 1), b(i + 1), odd) : odd;
    }
    total += even + odd;
  }
  return total;
}

class GemmAmx : public testing::Test {
 protected:
  void SetUp() override {
    if (!isa_available(Isa::avx512_amx)) GTEST_SKIP() << "this CPU has no AMX tiles for bf16";
  }
  void run(Gemm& args, const GemmProduct& product) {
    args.products = &product, args.n_products = 1, args.lane = &lane_;
    gemm({.isa = Isa::avx512_amx}, args);
  }
  Lane lane_{2, MemoryPool::create()};
};

TEST_F(GemmAmx, SumsPairsOfBf16AsTheHeaderSays) {
  for (const int64_t k : {1, 2, 31, 32, 33, 128, 300, 515}) {
    for (const int64_t m : {1, 15, 16, 17, 33, 70}) {
      constexpr int64_t n = 45;
      const auto a = numbers(m * k, 1), b = numbers(n * k, 2);
      std::vector<float> c(size_t(m * n), 0.75f);
      Gemm args{.a_type = DType::bf16, .b_type = DType::bf16};
      args.a_row = k, args.b_row = 1, args.b_col = k, args.c_row = n, args.add = k % 2 == 0;
      run(args, {a.data(), b.data(), c.data(), m, n, k});
      for (int64_t i = 0; i < m * n; ++i) {
        const auto x = [&](int64_t at) { return float(a[size_t(i / n * k + at)]); };
        const auto w = [&](int64_t at) { return float(b[size_t(i % n * k + at)]); };
        ASSERT_EQ(c[size_t(i)], tiled_sum(args.add ? 0.75f : 0.0f, 0, k, x, w)) << "m " << m << " k " << k << " " << i;
      }
    }
  }
}

TEST_F(GemmAmx, SumsCodesChunkByChunkAsTheHeaderSays) {
  for (const int64_t k : {1, 5, 128, 131, 300}) {
    for (const int64_t m : {1, 16, 20, 40}) {
      constexpr int64_t n = 150;
      const auto a = numbers(m * k, 3);
      std::vector<uint8_t> codes(size_t(n * k));
      for (size_t i = 0; i < codes.size(); ++i) codes[i] = uint8_t(i * 167 + i / 128 * 13);
      for (uint8_t& code : codes) code = (code & 0x7f) == 0x7f ? 0x03 : code;
      const int64_t across = (k + kFp8Block - 1) / kFp8Block;
      std::vector<float> scales(size_t(2 * across));
      for (size_t i = 0; i < scales.size(); ++i) scales[i] = 0.001f * float(i + 1);
      std::vector<char> panels(size_t(gemm_panel_bytes(PanelType::fp8, k, n, 32)));
      pack_panels({codes.data(), 1, k, k, n, DType::f8_e4m3, PanelType::fp8, panels.data(), 32, &lane_});
      std::vector<float> c(size_t(m * n), -1);
      Gemm args{.a_type = DType::bf16, .b_type = DType::f8_e4m3};
      args.a_row = k, args.c_row = n, args.b_is_panels = true;
      run(args, {a.data(), panels.data(), c.data(), m, n, k, scales.data()});
      for (int64_t i = 0; i < m * n; ++i) {
        const auto x = [&](int64_t at) { return float(a[size_t(i / n * k + at)]); };
        const auto w = [&](int64_t at) {
          e4m3 code;
          code.bits = codes[size_t(i % n * k + at)];
          return float(code);
        };
        float total = 0;
        for (int64_t chunk = 0; chunk < k; chunk += kGemmChunk) {
          const float sum = tiled_sum(0, chunk, std::min(k, chunk + kGemmChunk), x, w);
          const float scaled = sum * scales[size_t(i % n / kFp8Block * across + chunk / kFp8Block)];
          total = chunk == 0 ? scaled : total + scaled;
        }
        ASSERT_EQ(c[size_t(i)], total) << "m " << m << " k " << k << " " << i;
      }
    }
  }
}

TEST_F(GemmAmx, OtherTypesAreAvx512s) {
  constexpr int64_t m = 20, n = 50, k = 200;
  const auto a = numbers(m * k, 5), b = numbers(n * k, 6);
  std::vector<float> wide(b.begin(), b.end()), results[2];
  for (const Isa isa : {Isa::avx512, Isa::avx512_amx}) {
    std::vector<float>& c = results[isa == Isa::avx512];
    c.assign(size_t(m * n), 0);
    const GemmProduct product{a.data(), wide.data(), c.data(), m, n, k};
    Gemm args{.products = &product, .n_products = 1, .a_type = DType::bf16};
    args.a_row = k, args.b_row = 1, args.b_col = k, args.c_row = n, args.lane = &lane_;
    gemm({.isa = isa}, args);
  }
  EXPECT_EQ(results[0], results[1]);
}

}  // namespace
}  // namespace hadal::kernels
