#include "cuda_emulator/product.h"

#include <cstring>

#include "base/error.h"
#include "kernels/tensor_core.h"

namespace hadal::emulator {
namespace {

using namespace kernels::cuda;
using Row = kernels::tensor_core::Row<kernels::tensor_core::Bf16>;

// Rows (A) or columns (B) of an operand, 16 k each.
void load(Row* rows, int n, uint64_t descriptor, bool by_mn, const uint8_t* shared, int64_t bytes) {
  const auto field = [&](int bit) { return uint32_t(descriptor >> bit & 0x3fff) << 4; };
  const uint32_t start = field(0), leading = field(16), stride = field(32);
  const uint32_t pattern = uint32_t(descriptor >> 62);
  check(pattern <= 1, ErrorKind::internal, "a descriptor with swizzle {}; emulated are 128 bytes (1) and none (0)",
        pattern);
  for (int i = 0; i < n; ++i) {
    uint16_t values[kProductDepth];
    for (int k = 0; k < kProductDepth; ++k) {
      const uint32_t inside =
          by_mn ? uint32_t(i / 64) * leading + uint32_t(k / 8) * stride + uint32_t(k % 8) * 128 + uint32_t(i % 64) * 2
                : uint32_t(i / 8) * stride + uint32_t(i % 8) * 128 + uint32_t(k) * 2;
      const uint32_t at = pattern == 1 ? swizzled(start + inside) : start + inside;
      check(at + 2 <= bytes, ErrorKind::internal, "an operand of a product at byte {} of {} bytes of shared memory", at,
            bytes);
      std::memcpy(&values[k], shared + at, 2);
    }
    take_apart(rows[i], values, 1);
  }
}

inline __attribute__((always_inline)) void multiply_all(const Row* a, const Row* b, bool add, ProductSums& sums) {
  for (int t = 0; t < kWarpgroup; ++t) {
    for (int i = 0; i < kOwnElements; ++i) {
      float& sum = sums.own[t][i];
      sum = kernels::tensor_core::multiply_add(add ? sum : 0.0f, a[product_row(t, i)], b[product_col(t, i)]);
    }
  }
}
// Three times as fast as for any x86-64, because shifts by a number for each lane are one instruction.
__attribute__((target("avx2"))) void multiply_with_avx2(const Row* a, const Row* b, bool add, ProductSums& sums) {
  multiply_all(a, b, add, sums);
}

}  // namespace

void run_product(const ProductIssue& what, const uint8_t* shared, int64_t bytes, ProductSums& sums) {
  static thread_local Row a[kProductRows], b[kProductCols];
  load(a, kProductRows, what.a, what.a_by_mn, shared, bytes);
  load(b, kProductCols, what.b, what.b_by_mn, shared, bytes);
  static const bool avx2 = __builtin_cpu_supports("avx2");
  avx2 ? multiply_with_avx2(a, b, what.add, sums) : multiply_all(a, b, what.add, sums);
}

}  // namespace hadal::emulator
