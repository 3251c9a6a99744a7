// The thin layer between kernels and a Hopper GPU, device side: what a kernel on CUDA cores may ask of the machine.
// Kernels (kernels/cuda/*.cu) name nothing of CUDA but its function qualifiers; tests/machine/cuda_emulator holds a
// second implementation of this header, in which threads are fibers, and the include path picks one of the two.
//
// Rules that the second implementation enforces: blocks are whole warps, in one dimension; every thread of a block
// comes to every block_barrier(), every lane of a warp to every shuffle, vote and warp_barrier(), and all of them from
// the same line; shared memory is one struct per kernel, taken by shared<S>() and sized at the launch.
//
// Arithmetic: + - * / sqrt and fused() round as the CPU's do, subnormals included, because nothing here is compiled
// with fast maths and contraction is off (-fmad=false). What is not the same bits is the payload of a NaN.
#pragma once
#include <cstdint>

#define HADAL_UNROLL _Pragma("unroll")  // the loop behind it: what it indexes stays in registers

namespace hadal::kernels::cuda {

inline constexpr int kWarp = 32;

__device__ __forceinline__ int thread_index() { return int(threadIdx.x); }  // in its block
__device__ __forceinline__ int block_threads() { return int(blockDim.x); }
__device__ __forceinline__ int64_t block_index() { return blockIdx.x; }  // in the grid
__device__ __forceinline__ int64_t grid_blocks() { return gridDim.x; }
__device__ __forceinline__ int lane_index() { return int(threadIdx.x % kWarp); }
__device__ __forceinline__ int warp_index() { return int(threadIdx.x / kWarp); }

__device__ __forceinline__ void block_barrier() { __syncthreads(); }
__device__ __forceinline__ void warp_barrier() { __syncwarp(); }

// Values of 4 or 8 bytes from another lane: the one whose number differs in `bits`; the one `below` further on (its own
// where there is none); one for all.
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int bits) {
  return __shfl_xor_sync(0xffffffffu, value, bits);
}
template <class T>
__device__ __forceinline__ T shuffle_down(T value, int below) {
  return __shfl_down_sync(0xffffffffu, value, below);
}
template <class T>
__device__ __forceinline__ T broadcast(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
__device__ __forceinline__ uint32_t votes(bool vote) { return __ballot_sync(0xffffffffu, vote); }  // bit l: lane l's

// The block's shared memory, uninitialised.
template <class S>
__device__ __forceinline__ S& shared() {
  extern __shared__ __align__(1024) unsigned char shared_bytes[];
  return *reinterpret_cast<S*>(shared_bytes);
}

__device__ __forceinline__ float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }  // a * b + c
__device__ __forceinline__ double fused(double a, double b, double c) { return __fma_rn(a, b, c); }
__device__ __forceinline__ float square_root(float a) { return __fsqrt_rn(a); }
__device__ __forceinline__ float round_even(float a) { return rintf(a); }
__device__ __forceinline__ int to_int(float a) { return __float2int_rn(a); }  // saturates; 0 for NaN
__device__ __forceinline__ uint32_t bits_of(float a) { return __float_as_uint(a); }
__device__ __forceinline__ float float_of(uint32_t bits) { return __uint_as_float(bits); }
__device__ __forceinline__ uint64_t bits_of(double a) { return uint64_t(__double_as_longlong(a)); }
__device__ __forceinline__ double double_of(uint64_t bits) { return __longlong_as_double(int64_t(bits)); }

// Integers only: floating-point atomics add in an order that nobody knows.
__device__ __forceinline__ int32_t atomic_min(int32_t* at, int32_t value) { return atomicMin(at, value); }
__device__ __forceinline__ void atomic_add(int64_t* at, int64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(value));
}
__device__ __forceinline__ void atomic_max(int64_t* at, int64_t value) {
  atomicMax(reinterpret_cast<long long*>(at), static_cast<long long>(value));
}
// A store that any number of threads make at once, all of the same value.
template <class T>
__device__ __forceinline__ void store_same(T* at, T value) {
  *static_cast<volatile T*>(at) = value;
}

}  // namespace hadal::kernels::cuda
