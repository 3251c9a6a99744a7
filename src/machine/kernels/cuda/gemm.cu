// Products on CUDA cores, with the bits of AVX2 (kernels/gemm.h): per element of C one chain of fused multiply-adds for
// each chunk of 128 k, chunk sums added in order; tiles, m and neighbours change nothing. bf16 operands are widened.
#include "kernels/gemm.h"

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/tile_product.h"
#include "kernels/gemm_panels.h"

namespace hadal::kernels::cuda {
namespace {

// Products of one launch, in its parameters.
constexpr int kProducts = 32;
struct Products {
  GemmProduct list[kProducts];
  int64_t first_tile[kProducts];  // of each; those of products beyond the last one are never reached
  int64_t n;
};

// Where the elements of the operands lie, and what the product does.
struct Form {
  int64_t a_row, a_col, b_row, b_col, c_row;
  int64_t panel_cols;  // > 0: B is panels of so many columns
  int64_t add, bf16_out;
};

template <class T>
__device__ float element_of_b(const GemmProduct& p, const Form& form, int64_t k, int64_t n) {
  const T* b = static_cast<const T*>(p.b);
  if (form.panel_cols == 0) return value_of(b[k * form.b_row + n * form.b_col]);
  const int64_t w = form.panel_cols, panel = n / w, col = n - panel * w;  // gemm_panel_index
  if (sizeof(T) == 4) return value_of(b[(panel * p.k + k) * w + col]);
  return value_of(b[((panel * ((p.k + 1) / 2) + k / 2) * w + col) * 2 + k % 2]);
}

// Panels of k .. k + depth.
template <class A, class B>
__device__ void load_panels(Panels& panels, const GemmProduct& p, const Form& form, const TilePlace& at, int64_t k,
                            int depth) {
  const A* a = static_cast<const A*>(p.a);
  const bool a_by_rows = form.a_col == 1, b_by_rows = form.panel_cols == 0 && form.b_row == 1;
  for (int i = thread_index(); i < kTile * kStep; i += kBlock) {  // neighbours in memory to neighbouring threads
    const int m = a_by_rows ? i / kStep : i % kTile, ka = a_by_rows ? i % kStep : i / kTile;
    const int n = b_by_rows ? i / kStep : i % kTile, kb = b_by_rows ? i % kStep : i / kTile;
    if (ka < depth && at.row + m < p.m)
      panels.a[ka][m] = value_of(a[(at.row + m) * form.a_row + (k + ka) * form.a_col]);
    if (kb < depth && at.col + n < p.n) panels.b[kb][n] = element_of_b<B>(p, form, k + kb, at.col + n);
  }
}

template <class A, class B>
__global__ void __launch_bounds__(kBlock) gemm_tiles(Products products, Form form) {
  auto& panels = shared<Panels>();
  const int64_t tile = block_index();
  int which = 0;
  while (which + 1 < products.n && products.first_tile[which + 1] <= tile) ++which;
  const GemmProduct& p = products.list[which];
  const TilePlace at = tile_place(tile - products.first_tile[which], p.n);
  const Extent c_extent{p.m, p.n, form.c_row};
  float total[kPart][kPart] = {};
  if (form.add) {
    each_own(c_extent, at, [&](int i, int j, int64_t c) { total[i][j] = value_in(p.c, c, form.bf16_out); });
  }
  for (int64_t chunk = 0; chunk < p.k; chunk += kGemmChunk) {
    float sum[kPart][kPart] = {};
    const int64_t end = chunk + kGemmChunk < p.k ? chunk + kGemmChunk : p.k;
    for (int64_t k = chunk; k < end; k += kStep) {
      const int depth = int(end - k < kStep ? end - k : kStep);
      load_panels<A, B>(panels, p, form, at, k, depth);
      block_barrier();
      multiply(panels, depth, sum);
      block_barrier();
    }
    const bool begins = chunk == 0 && !form.add;
    each_part([&](int i, int j) { total[i][j] = begins ? sum[i][j] : total[i][j] + sum[i][j]; });
  }
  each_own(c_extent, at, [&](int i, int j, int64_t c) { put_in(p.c, c, form.bf16_out, total[i][j]); });
}

}  // namespace

void gemm(DeviceStream stream, const Gemm& k) {
  const Form form{k.a_row, k.a_col,
                  k.b_row, k.b_col,
                  k.c_row, k.b_is_panels ? gemm_panel_cols(Isa::avx2) : 0,
                  k.add,   k.c_type == DType::bf16};
  visit(
      "gemm",
      [&](auto a, auto b, auto) {
        for (int64_t first = 0; first < k.n_products; first += kProducts) {
          Products products = {};
          int64_t tiles = 0;
          for (int64_t i = first; i < k.n_products && i < first + kProducts; ++i) {
            const GemmProduct& p = k.products[i];
            if (p.m == 0 || p.n == 0 || (p.k == 0 && k.add)) continue;
            products.first_tile[products.n] = tiles;
            products.list[products.n++] = p;
            tiles += tiles_of(p.m, p.n);
          }
          launch(gemm_tiles<element<decltype(a)>, element<decltype(b)>>,
                 {.name = "gemm", .blocks = tiles, .shared_bytes = sizeof(Panels), .stream = stream}, products, form);
        }
      },
      k.a_type, k.b_type, k.c_type);
}

}  // namespace hadal::kernels::cuda
