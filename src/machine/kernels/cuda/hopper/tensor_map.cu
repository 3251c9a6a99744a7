// Tensor maps are made by the driver, whose entry point is looked up at run time: nothing links libcuda.
#include "kernels/cuda/hopper/tensor_map.h"

#include <cuda.h>
#include <cuda_runtime.h>

#include "kernels/cuda/hopper/runtime.h"

namespace hadal::kernels::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode find_encode() {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  constexpr unsigned kSince = 12000;  // CUDA 12.0
  check_cuda(int(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, kSince, cudaEnableDefault, &found)),
             "looking up cuTensorMapEncodeTiled");
  check(found == cudaDriverEntryPointSuccess && entry != nullptr, ErrorKind::unsupported,
        "the NVIDIA driver has no cuTensorMapEncodeTiled; CUDA 13 needs driver 580 or newer");
  return reinterpret_cast<Encode>(entry);
}

}  // namespace

TensorMap tensor_map(const MatrixStack& m) {
  static const Encode encode = find_encode();
  check_tensor_map(m);
  static_assert(sizeof(TensorMap) == sizeof(CUtensorMap) && alignof(TensorMap) >= alignof(CUtensorMap));
  const cuuint64_t sizes[] = {cuuint64_t(m.cols), cuuint64_t(m.rows), cuuint64_t(m.matrices)};
  const int64_t matrix_stride = m.matrices > 1 ? m.matrix_stride : m.row_stride;
  const cuuint64_t strides[] = {cuuint64_t(m.row_stride * 2), cuuint64_t(matrix_stride * 2)};
  const cuuint32_t box[] = {kBox, kBox, 1}, steps[] = {1, 1, 1};
  TensorMap map;
  const CUresult status =
      encode(reinterpret_cast<CUtensorMap*>(&map), CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(m.base),
             sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(status == CUDA_SUCCESS, ErrorKind::internal, "cuTensorMapEncodeTiled: status {}", int(status));
  return map;
}

}  // namespace hadal::kernels::cuda
