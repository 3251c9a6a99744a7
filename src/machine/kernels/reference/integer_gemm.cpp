#include "kernels/integer_gemm.h"

#include <cmath>

#include "base/bf16.h"

namespace hadal::kernels::reference {
namespace {

template <class T>
void one_column(const IntegerGemm& args, const IntegerProduct& p, int64_t n) {
  constexpr int64_t kCols = gemm_panel_cols(Isa::reference);
  const int64_t groups = integer_groups(p.k), bytes = integer_group_bytes(args.type, kCols);
  const auto* panel = static_cast<const uint8_t*>(p.b) + n / kCols * groups * bytes;
  T* c = static_cast<T*>(p.c) + n;
  for (int64_t m = 0; m < p.m; ++m) {
    float total = args.add ? float(c[m * args.c_row]) : 0.0f;
    for (int64_t g = 0; g < groups; ++g) {
      int8_t q[kIntegerGroup];
      float scale;
      integer_group_values(args.type, panel + g * bytes, n % kCols, kCols, q, &scale);
      const IntegerGroup& x = p.a[m * groups + g];
      int32_t dot = 0;
      for (int64_t i = 0; i < kIntegerGroup; ++i) dot += int32_t(x.q[i]) * q[i];
      total = std::fmaf(float(dot), x.scale * scale, total);
    }
    c[m * args.c_row] = T(total);
  }
}

}  // namespace

void integer_gemm(const IntegerGemm& args) {
  for (int64_t i = 0; i < args.n_products; ++i) {
    const IntegerProduct& p = args.products[i];
    args.lane->parallel_for(p.n, [&](int64_t n, int) {
      args.c_type == DType::bf16 ? one_column<bf16>(args, p, n) : one_column<float>(args, p, n);
    });
  }
}

}  // namespace hadal::kernels::reference
