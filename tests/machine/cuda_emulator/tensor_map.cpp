// Tensor maps of the emulated device. Word 0 is the base, tagged until a launch hands the map to a kernel.
#include "kernels/cuda/hopper/tensor_map.h"

#include "cuda_emulator/device.h"
#include "cuda_emulator/product.h"

namespace hadal {
namespace {

constexpr uint64_t kMade = 0x74656e736f726d61ull;

}  // namespace

kernels::cuda::TensorMap kernels::cuda::tensor_map(const MatrixStack& m) {
  check_tensor_map(m);
  const int64_t matrix_stride = m.matrices > 1 ? m.matrix_stride : m.row_stride;
  const int64_t bytes = ((m.rows - 1) * m.row_stride + m.cols) * 2;
  for (int64_t i = 0; i < m.matrices; ++i)  // each may lie in memory of its own
    emulator::Device::get().address(static_cast<const char*>(m.base) + i * matrix_stride * 2, bytes, "tensor map");
  return {{reinterpret_cast<uint64_t>(m.base), uint64_t(m.cols), uint64_t(m.rows), uint64_t(m.matrices),
           uint64_t(m.row_stride * 2), uint64_t(matrix_stride * 2), kMade}};
}

emulator::CopiedMatrices emulator::copied_matrices(const kernels::cuda::TensorMap& map) {
  const auto& w = map.words;
  check(w[6] == kMade, ErrorKind::internal, "a copy through something that is no tensor map");
  return {reinterpret_cast<const uint8_t*>(w[0]),
          int64_t(w[1]),
          int64_t(w[2]),
          int64_t(w[3]),
          int64_t(w[4]),
          int64_t(w[5])};
}

}  // namespace hadal
