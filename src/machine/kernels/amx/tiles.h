// The tile unit (AMX-BF16) as the products of this folder use it: eight registers of up to 16 rows of 64 bytes. The
// compiler knows nothing of their contents, so every access to memory is a barrier for it.
#pragma once
#include <cstdint>

#include "kernels/cpu/simd.h"

namespace hadal::kernels::HADAL_ISA {

constexpr int64_t kTileRows = 16, kTileLine = 64;  // bytes of a row
constexpr int64_t kTileBytes = kTileRows * kTileLine;
constexpr int64_t kTileDepth = 32, kTileCols = 16;  // k of a tile of A or B, columns of one of B or C

// Which register holds what: 2 x 2 tiles of C, two of A, two of B.
enum Tile { c00, c01, c10, c11, a0, a1, b0, b1 };

template <int kTile>
HADAL_INLINE void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
template <int kTile>
HADAL_INLINE void tile_load(const void* p, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
HADAL_INLINE void tile_store(void* p, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(kTile) : "memory");
}
// C += A B over 32 k: even and odd k apart, ascending, by fused multiply-adds from zero; then (even + odd) joins C.
template <int kC, int kA, int kB>
HADAL_INLINE void tile_multiply() {
  asm volatile("tdpbf16ps %%tmm%c0, %%tmm%c1, %%tmm%c2" ::"i"(kB), "i"(kA), "i"(kC));
}

// The registers of this thread while a task runs: `first` rows in the upper tiles of A and C, `second` in the lower.
class TileUse {
 public:
  TileUse(int64_t first, int64_t second) {
    Configuration c;
    for (int i = 0; i < 8; ++i) c.row_bytes[i] = kTileLine;
    c.rows[c00] = c.rows[c01] = c.rows[a0] = uint8_t(first);
    c.rows[c10] = c.rows[c11] = c.rows[a1] = uint8_t(second);
    c.rows[b0] = c.rows[b1] = kTileRows;
    asm volatile("ldtilecfg %0" ::"m"(c));
  }
  ~TileUse() { asm volatile("tilerelease"); }
  TileUse(const TileUse&) = delete;
  TileUse& operator=(const TileUse&) = delete;

 private:
  struct alignas(64) Configuration {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  };
};

}  // namespace hadal::kernels::HADAL_ISA
