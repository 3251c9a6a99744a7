// Products of FP8 codes with scales, on CUDA cores: FP32 sums of whole chunks, promoted once per chunk.
#include "kernels/scaled_gemm.h"

#include "kernels/cuda/e4m3.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/tile_product.h"

namespace hadal::kernels::cuda {
namespace {

// ScaledOperand without room between its fields.
struct Codes {
  const uint8_t* codes;
  const float* scales;
  int64_t row, col, scale_row, scale_col, tile, count;

  __device__ float scale(int64_t i, int64_t chunk) const {
    return i < count ? scales[i / tile * scale_row + chunk * scale_col] : 0.0f;
  }
};
Codes codes_of(const ScaledOperand& x, int64_t count) {
  return {x.codes, x.scales, x.row, x.col, x.scale_row, x.scale_col, x.tile, count};
}

struct Shape {
  int64_t k, chunk, add, bf16_out;
};

__device__ void load_codes(float (&panel)[kStep][kTile + kPart], const Codes& x, int64_t first, int64_t k, int depth) {
  const bool by_rows = x.col == 1;  // neighbours in memory to neighbouring threads
  for (int i = thread_index(); i < kTile * kStep; i += kBlock) {
    const int at = by_rows ? i / kStep : i % kTile, ka = by_rows ? i % kStep : i / kTile;
    if (ka < depth && first + at < x.count)
      panel[ka][at] = e4m3_value(x.codes[(first + at) * x.row + (k + ka) * x.col]);
  }
}

__global__ void __launch_bounds__(kBlock) scaled_tiles(Codes a, Codes b, void* c, Extent extent, Shape shape) {
  auto& panels = shared<Panels>();
  const TilePlace at = tile_place(block_index(), extent.n);
  float total[kPart][kPart] = {};
  if (shape.add) {
    each_own(extent, at, [&](int i, int j, int64_t place) { total[i][j] = value_in(c, place, shape.bf16_out); });
  }
  for (int64_t chunk = 0; chunk < shape.k; chunk += shape.chunk) {
    float sum[kPart][kPart] = {};
    const int64_t end = chunk + shape.chunk < shape.k ? chunk + shape.chunk : shape.k;
    for (int64_t k = chunk; k < end; k += kStep) {
      const int depth = int(end - k < kStep ? end - k : kStep);
      load_codes(panels.a, a, at.row, k, depth);
      load_codes(panels.b, b, at.col, k, depth);
      block_barrier();
      multiply(panels, depth, sum);
      block_barrier();
    }
    float of_rows[kPart], of_cols[kPart];
    const int64_t number = chunk / shape.chunk;
    HADAL_UNROLL
    for (int i = 0; i < kPart; ++i) {
      of_rows[i] = a.scale(at.row + own_row() + i, number);
      of_cols[i] = b.scale(at.col + own_col() + i, number);
    }
    each_part([&](int i, int j) { total[i][j] += of_rows[i] * of_cols[j] * sum[i][j]; });
  }
  each_own(extent, at, [&](int i, int j, int64_t place) { put_in(c, place, shape.bf16_out, total[i][j]); });
}

}  // namespace

void scaled_gemm(DeviceStream stream, const ScaledGemm& k) {
  launch(scaled_tiles,
         {.name = "scaled_gemm", .blocks = tiles_of(k.m, k.n), .shared_bytes = sizeof(Panels), .stream = stream},
         codes_of(k.a, k.m), codes_of(k.b, k.n), k.c, {k.m, k.n, k.c_row},
         {k.k, k.chunk, k.add, k.c_type == DType::bf16});
}

}  // namespace hadal::kernels::cuda
