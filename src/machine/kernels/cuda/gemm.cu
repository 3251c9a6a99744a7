// Products on CUDA cores, with the bits of AVX2 (kernels/gemm.h): per element of C one chain of fused multiply-adds for
// each chunk of 128 k, chunk sums added in order; tiles, m and neighbours change nothing. bf16 operands are widened.
// Where both operands are bf16 and lie as tensor copies take them, tensor cores multiply (gemm_tensor.h).
#include "kernels/gemm.h"

#include "kernels/cuda/gemm_tensor.h"
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
__device__ void make_tile(const GemmProduct& p, const Form& form, const TilePlace& at) {
  auto& panels = shared<Panels>();
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

template <class A, class B>
__global__ void __launch_bounds__(kBlock) gemm_tiles(Products products, Form form) {
  const int64_t tile = block_index();
  int which = 0;
  while (which + 1 < products.n && products.first_tile[which + 1] <= tile) ++which;
  const GemmProduct& p = products.list[which];
  make_tile<A, B>(p, form, tile_place(tile - products.first_tile[which], p.n));
}

// The groups of a product (GemmGroups).
struct Groups {
  const int32_t* offsets;
  int64_t n, stack;
};

// As many blocks as groups of any sizes may need: those beyond the last tile have nothing to do.
template <class A, class B>
__global__ void __launch_bounds__(kBlock) gemm_row_groups(GemmProduct all, Groups groups, Form form) {
  int64_t tile = block_index(), g = 0, rows = 0;
  for (; g < groups.n; ++g) {
    rows = groups.offsets[g + 1] - groups.offsets[g];
    const int64_t tiles = tiles_of(rows, all.n);
    if (tile < tiles) break;
    tile -= tiles;
  }
  if (g == groups.n) return;
  const int64_t first = groups.offsets[g];
  const GemmProduct p{static_cast<const A*>(all.a) + first * form.a_row,
                      static_cast<const B*>(all.b) + g * groups.stack,
                      static_cast<char*>(all.c) + first * form.c_row * (form.bf16_out ? 2 : 4),
                      rows,
                      all.n,
                      all.k};
  make_tile<A, B>(p, form, tile_place(tile, p.n));
}

template <class A, class B>
__global__ void __launch_bounds__(kBlock) gemm_k_groups(GemmProduct all, Groups groups, Form form) {
  const int64_t tiles = tiles_of(all.m, all.n), g = block_index() / tiles;
  const int64_t first = groups.offsets[g], depth = groups.offsets[g + 1] - first;
  if (depth == 0 && form.add) return;
  const GemmProduct p{static_cast<const A*>(all.a) + first * form.a_col,
                      static_cast<const B*>(all.b) + first * form.b_row,
                      static_cast<char*>(all.c) + g * groups.stack * (form.bf16_out ? 2 : 4),
                      all.m,
                      all.n,
                      depth};
  make_tile<A, B>(p, form, tile_place(block_index() - g * tiles, p.n));
}

template <class A, class B>
void launch_groups(const Gemm& k, const Form& form, DeviceStream stream) {
  const GemmProduct& all = k.products[0];
  const GemmGroups& g = k.groups;
  const int64_t across = tiles_of(1, all.n);
  const int64_t blocks = g.along_k ? g.n * tiles_of(all.m, all.n) : (tiles_of(all.m, 1) + g.n) * across;
  const Launch how{.name = "gemm of groups", .blocks = blocks, .shared_bytes = sizeof(Panels), .stream = stream};
  if (all.m == 0 || all.n == 0) return;
  if (g.along_k) {
    launch(gemm_k_groups<A, B>, how, all, {g.offsets, g.n, g.stack}, form);
  } else {
    launch(gemm_row_groups<A, B>, how, all, {g.offsets, g.n, g.stack}, form);
  }
}

// Collects products until a launch is full.
template <class A, class B>
class Launches {
 public:
  Launches(DeviceStream stream, const Form& form) : stream_(stream), form_(form) {}
  void add(const GemmProduct& p) {
    products_.first_tile[products_.n] = tiles_;
    products_.list[products_.n++] = p;
    tiles_ += tiles_of(p.m, p.n);
    if (products_.n == kProducts) launch_all();
  }
  void launch_all() {
    launch(gemm_tiles<A, B>, {.name = "gemm", .blocks = tiles_, .shared_bytes = sizeof(Panels), .stream = stream_},
           products_, form_);
    products_ = {}, tiles_ = 0;
  }

 private:
  DeviceStream stream_;
  Form form_;
  Products products_ = {};
  int64_t tiles_ = 0;
};

}  // namespace

void gemm(DeviceStream stream, const Gemm& k) {
  const Form form{k.a_row, k.a_col,
                  k.b_row, k.b_col,
                  k.c_row, k.b_is_panels ? gemm_panel_cols(Isa::avx2) : 0,
                  k.add,   k.c_type == DType::bf16};
  visit(
      "gemm",
      [&](auto a, auto b, auto) {
        using A = element<decltype(a)>;
        using B = element<decltype(b)>;
        if (k.groups.offsets) {
          if (fits_tensor_cores(k, k.products[0])) return void(launch_on_tensor_cores(stream, k, 0));
          return launch_groups<A, B>(k, form, stream);
        }
        Launches<A, B> others(stream, form);
        for (int64_t i = 0; i < k.n_products;) {
          const GemmProduct& p = k.products[i];
          if (p.m > 0 && p.n > 0 && fits_tensor_cores(k, p)) {
            i += launch_on_tensor_cores(stream, k, i);
            continue;
          }
          ++i;
          if (p.m > 0 && p.n > 0 && (p.k > 0 || !k.add)) others.add(p);
        }
        others.launch_all();
      },
      k.a_type, k.b_type, k.c_type);
}

}  // namespace hadal::kernels::cuda
