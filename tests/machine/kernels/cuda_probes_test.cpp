// What runs beside threads, thing by thing, on the device that is linked (cuda_staged/probes.h): the swizzle and the
// zeros of copies, phases of barriers, and the tensor core's arithmetic, to the bit.
#include <gtest/gtest.h>

#include <bit>

#include "cuda_staged/probes.h"
#include "cuda_staged/staged.h"
#include "kernels/places_fixture.h"
#include "kernels/tensor_core.h"

namespace hadal {
namespace {

using namespace staged;

class CudaProbes : public ::testing::TestWithParam<int> {
  void SetUp() override {
    if (!device_is_there()) GTEST_SKIP() << "there is no device";
    begin_schedule(uint64_t(GetParam()));
  }
};
INSTANTIATE_TEST_SUITE_P(Schedules, CudaProbes, ::testing::Values(1, 2, 3));

uint64_t random(uint64_t& state) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state * 0x2545F4914F6CDD1Dull >> 20;
}

// 16-byte piece c of row r lies at piece c ^ r % 8 of its row; what is outside of the matrix is zero.
TEST_P(CudaProbes, CopySwizzlesABoxAndFillsWhatIsOutsideWithZeros) {
  std::vector<uint16_t> matrices(2 * 7000);
  for (size_t i = 0; i < matrices.size(); ++i) matrices[i] = uint16_t(i + 1);
  const int corners[][3] = {{0, 0, 0}, {3, 5, 1}, {-9, -60, 1}, {60, 50, 0}, {200, 0, 0}, {0, -70, 1}, {0, 0, 2}};
  for (const auto& at : corners) {
    const BoxProbe p{75, 70, 2, 80, 7000, at[0], at[1], at[2]};
    const std::vector<uint16_t> box = copied_box(matrices, p);
    for (int r = 0; r < 64; ++r) {
      for (int c = 0; c < 64; ++c) {
        const int row = at[1] + r, col = at[0] + c;
        const bool inside = row >= 0 && row < p.rows && col >= 0 && col < p.cols && at[2] < p.matrices;
        const int want = inside ? at[2] * 7000 + row * 80 + col + 1 : 0;
        ASSERT_EQ(box[size_t(r * 64 + ((c / 8) ^ (r % 8)) * 8 + c % 8)], uint16_t(want)) << r << ", " << c;
      }
    }
  }
}

TEST_P(CudaProbes, PhasesHandOverEveryNumberOnce) {
  const int64_t phases = 9;
  const std::vector<int64_t> sums = handed_over(int(phases));
  for (int64_t lane = 0; lane < 32; ++lane)
    EXPECT_EQ(sums[size_t(lane)], 100 * phases * (phases - 1) / 2 + phases * (31 - lane));
}

// Operands of three kinds: near one, any bits at all, far apart.
uint16_t number(uint64_t& state, int kind) {
  const uint64_t x = random(state);
  const uint64_t field = kind == 0 ? 124 + x % 7 : kind == 1 ? x % 256 : 60 + x % 120;
  return uint16_t((x >> 8 & 0x807f) | field << 7);
}

using Row = kernels::tensor_core::Row<kernels::tensor_core::Bf16>;
// Row (A) or column (B) i of boxes, 16 k from 16 * step on.
Row part(const std::vector<uint16_t>& boxes, int i, int step, bool by_k) {
  const uint16_t* box = boxes.data() + i / 64 * 4096;
  Row row;
  take_apart(row, by_k ? box + i % 64 * 64 + step * 16 : box + step * 16 * 64 + i % 64, by_k ? 1 : 64);
  return row;
}
bool same(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

TEST_P(CudaProbes, ProductsHaveTheBitsOfTheTensorCore) {
  uint64_t state = 88172645463325252ull + uint64_t(GetParam());
  std::vector<uint16_t> a(4096), b(8192);
  std::vector<float> c(8192);
  for (int form = 0; form < 16; ++form) {
    if (kernels_test::kDeviceStride > 1 && form % 5) continue;
    const ProductProbe probe{form % 2 == 0, form / 2 % 2 == 0, form / 4 % 2 == 1, form / 8 == 1};
    const int kind = form % 3;
    for (auto& x : a) x = number(state, kind);
    for (auto& x : b) x = number(state, kind);
    for (auto& x : c) x = std::bit_cast<float>(uint32_t(number(state, kind)) << 16 | uint32_t(random(state) & 0xffff));
    const std::vector<float> sums = multiplied(a, b, c, probe);
    for (int i = 0; i < 8192; ++i) {
      float parts[2] = {c[size_t(i)], c[size_t(i)]};
      for (int step = 0; step < 4; ++step) {
        float& sum = parts[probe.in_two ? step / 2 : 0];
        sum = multiply_add(sum, part(a, i / 128, step, probe.a_by_k), part(b, i % 128, step, probe.b_by_k));
      }
      for (int half = 0; half <= int(probe.in_two); ++half)
        ASSERT_TRUE(same(sums[size_t(half * 8192 + i)], parts[half])) << "form " << form << " element " << i;
    }
  }
}

}  // namespace
}  // namespace hadal
