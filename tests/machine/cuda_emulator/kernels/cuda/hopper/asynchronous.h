// The thin layer, device side, emulated: what src/machine/kernels/cuda/hopper/asynchronous.h offers a kernel.
#pragma once
#include "cuda_emulator/asynchronous.h"
#include "kernels/cuda/hopper/simt.h"
#include "kernels/cuda/hopper/tensor_map.h"
#include "kernels/cuda/hopper/tile_layout.h"

namespace hadal::kernels::cuda {

struct PhaseBarrier {
  uint64_t word;
};

inline uint32_t shared_address(const void* p) { return emulator::asynchronous().address_of(p); }

inline void begin(PhaseBarrier& barrier, uint32_t arrivals) {
  emulator::asynchronous().begin_barrier(&barrier, arrivals);
}
inline void barriers_are_ready() {}
inline void arrive(PhaseBarrier& barrier) { emulator::asynchronous().arrive(&barrier, 0); }
inline void arrive_expecting(PhaseBarrier& barrier, uint32_t bytes) {
  emulator::asynchronous().arrive(&barrier, bytes);
}
inline void wait_for_phase(PhaseBarrier& barrier, uint32_t parity, const Here& where = Here::current()) {
  emulator::asynchronous().wait_for_phase(&barrier, parity, where);
}

struct BoxCorner {
  int32_t col, row, matrix;
};
inline void copy_box(void* to, const TensorMap& map, const BoxCorner& from, PhaseBarrier& barrier) {
  emulator::asynchronous().copy_box(to, map, {from.col, from.row, from.matrix}, &barrier);
}
inline void fence_for_copies() { emulator::asynchronous().join_views(); }

inline void begin_products() { emulator::asynchronous().begin_products(); }
inline void end_products() { emulator::asynchronous().end_products(); }
template <int kGroups>
void wait_for_products(const Here& where = Here::current()) {
  emulator::asynchronous().wait_for_products(kGroups, where);
}
template <Major kA, Major kB>
void multiply_async(float (&sum)[kOwnElements], uint64_t a, uint64_t b, bool add) {
  emulator::asynchronous().issue({a, b, kA == Major::mn, kB == Major::mn, add}, sum);
}

}  // namespace hadal::kernels::cuda
