// The thin layer, device side: what runs beside the threads of a block, and how they wait for it. As simt.h, this
// header has a second implementation in tests/machine/cuda_emulator.
//
// Barriers (in shared memory) count arrivals and bytes: a phase ends when all arrivals are there and as many bytes have
// come as were announced; phases have parities 0, 1, 0, ... A fresh barrier is in phase 0: who waits there for parity 1
// goes on at once.
// Copies write shared memory through another proxy than threads do. Who waited for the barrier sees them; what threads
// wrote is seen by wgmma only behind fence_for_copies() by the writer, and then a barrier.
// wgmma runs from its issue to wait_for_products(): until then nobody may touch its sums, nor overwrite its operands.
#pragma once
#include <cstdint>

#include "kernels/cuda/hopper/simt.h"
#include "kernels/cuda/hopper/tensor_map.h"
#include "kernels/cuda/hopper/tile_layout.h"

namespace hadal::kernels::cuda {

struct PhaseBarrier {
  uint64_t word;
};

__device__ __forceinline__ uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }

// By one thread, before the others know the barrier; then barriers_are_ready() and a block_barrier().
__device__ __forceinline__ void begin(PhaseBarrier& barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void barriers_are_ready() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void arrive(PhaseBarrier& barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier)) : "memory");
}
__device__ __forceinline__ void arrive_expecting(PhaseBarrier& barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)), "r"(bytes)
               : "memory");
}
// Until the phase of this parity has ended.
__device__ __forceinline__ void wait_for_phase(PhaseBarrier& barrier, uint32_t parity) {
  uint32_t ended;
  do {
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n"
        "}"
        : "=r"(ended)
        : "r"(shared_address(&barrier)), "r"(parity)
        : "memory");
  } while (ended == 0);
}

// One thread copies the box whose first element is (col, row) of a matrix, kBoxBytes, which count for the barrier
// wherever the box lies. `to` is aligned to 1024 bytes.
struct BoxCorner {
  int32_t col, row, matrix;
};
__device__ __forceinline__ void copy_box(void* to, const TensorMap& map, const BoxCorner& from, PhaseBarrier& barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(shared_address(to)),
      "l"(&map), "r"(shared_address(&barrier)), "r"(from.col), "r"(from.row), "r"(from.matrix)
      : "memory");
}
__device__ __forceinline__ void fence_for_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// All threads of a warpgroup, in this order: begin_products() where sums were written by threads, products,
// end_products() which makes a group of them, wait_for_products<n>() until all groups but the last n have ended.
__device__ __forceinline__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kGroups>
__device__ __forceinline__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroups) : "memory");
}

#define HADAL_SUMS8(i)                                                                                    \
  "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3]), "+f"(sum[i + 4]), "+f"(sum[i + 5]), \
      "+f"(sum[i + 6]), "+f"(sum[i + 7])
// sum (+)= A [64, 16] B [16, 128] in BF16; without `add` from zero.
template <Major kA, Major kB>
__device__ __forceinline__ void multiply_async(float (&sum)[kOwnElements], uint64_t a, uint64_t b, bool add) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, p, 1, 1, %67, %68;\n"
      "}"
      : HADAL_SUMS8(0), HADAL_SUMS8(8), HADAL_SUMS8(16), HADAL_SUMS8(24), HADAL_SUMS8(32), HADAL_SUMS8(40),
        HADAL_SUMS8(48), HADAL_SUMS8(56)
      : "l"(a), "l"(b), "r"(int(add)), "n"(int(kA == Major::mn)), "n"(int(kB == Major::mn)));
}
#undef HADAL_SUMS8

}  // namespace hadal::kernels::cuda
