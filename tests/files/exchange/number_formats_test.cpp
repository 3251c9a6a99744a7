// The block formats of an export: FP8 blocks of 128 x 128 by the released rule, Q8_0 and Q4_0 of GGUF.
#include <cmath>
#include <limits>

#include "base/expect_error.h"
#include "base/float_formats.h"
#include "exchange/export_fixture.h"
#include "exchange/export_stream.h"
#include "storage/gguf_blocks.h"

namespace hadal {
namespace {

class NumberFormats : public ExportTest {
 protected:
  struct Quantised {
    Tensor codes, scales;
  };
  Quantised quantise(const Tensor& w, bool ue8m0 = false, DType scale_dtype = DType::f32) {
    Quantised q{Tensor::empty(owned_.exec, DType::f8_e4m3, w.shape()),
                Tensor::empty(owned_.exec, scale_dtype, scale_shape(w.shape(), {}))};
    quantise_blocks(owned_.exec, w, q.codes, q.scales, ue8m0);
    return q;
  }
};

TEST_F(NumberFormats, Fp8ScalesAreTheBlocksLargestMagnitudeOver448AndNeverBelowTheReleasedFloor) {
  Tensor w = Tensor::zeros(owned_.exec, DType::f32, {130, 257});
  set_element(w, 0 * 257 + 5, -3.5);      // block (0, 0)
  set_element(w, 129 * 257 + 256, 1e-6);  // block (1, 2), below the floor of 1e-4
  const auto q = quantise(w);
  ASSERT_EQ(q.scales.shape(), (Shape{2, 3}));
  EXPECT_EQ(element(q.scales, 0), double(3.5f / 448.0f));
  for (int64_t block : {1, 2, 3, 4, 5}) EXPECT_EQ(element(q.scales, block), double(1e-4f / 448.0f)) << block;
  EXPECT_EQ(element(q.codes, 5), -448.0);
  EXPECT_EQ(element(q.codes, 6), 0.0);
  EXPECT_EQ(element(q.codes, 129 * 257 + 256), double(float(e4m3(1e-6f / (1e-4f / 448.0f)))));
}

TEST_F(NumberFormats, Fp8ComesBackWithinHalfAStepOfItsThreeBits) {
  const Tensor w = random({200, 300}, 3, 2.0);
  for (bool ue8m0 : {false, true}) {
    const auto q = quantise(w, ue8m0);
    Tensor back = Tensor::empty(owned_.exec, DType::f32, w.shape());
    dequantise_blocks(owned_.exec, q.codes, q.scales, back);
    for (int64_t i = 0; i < w.count(); ++i) {
      const double scale = element(q.scales, i / 300 / 128 * 3 + i % 300 / 128);
      // half a unit of the last place: 2^-4 of a normal number, 2^-10 scales below; and one float rounding
      const double bound = std::max(std::fabs(element(w, i)) / 16, scale / 1024) * (1 + 1e-6);
      ASSERT_LE(std::fabs(element(back, i) - element(w, i)), bound) << i << " ue8m0 " << ue8m0;
    }
  }
}

TEST_F(NumberFormats, Ue8m0ScalesArePowersOfTwoRoundedUp) {
  for (float amax : {448.0f, 449.0f, 1.0f, 3.7e-3f, 447.99f, 896.0f}) {
    Tensor w = Tensor::zeros(owned_.exec, DType::f32, {1, 1});
    set_element(w, 0, amax);
    const auto q = quantise(w, true, DType::f8_e8m0);
    const double scale = element(q.scales, 0), plain = double(amax) / 448;
    EXPECT_EQ(std::exp2(std::round(std::log2(scale))), scale) << amax;
    EXPECT_GE(scale * (1 + 1e-7), plain) << amax;
    EXPECT_LT(scale, 2 * plain) << amax;
  }
}

TEST_F(NumberFormats, Q8BlocksHoldRoundedMultiplesOfTheirScale) {
  std::vector<float> values(64, 0.0f);
  values[0] = -127.0f, values[1] = 63.5f, values[2] = -0.5f, values[3] = 0.49f;
  std::vector<uint8_t> out(2 * kQ8BlockBytes);
  encode_q8_0(values.data(), 64, out.data());
  EXPECT_EQ(out[0] | out[1] << 8, 0x3c00);  // d = 1
  EXPECT_EQ(int8_t(out[2]), -127);
  EXPECT_EQ(int8_t(out[3]), 64);  // halves away from zero
  EXPECT_EQ(int8_t(out[4]), -1);
  EXPECT_EQ(int8_t(out[5]), 0);
  for (int i = 0; i < kQ8BlockBytes; ++i) EXPECT_EQ(out[size_t(kQ8BlockBytes + i)], 0) << "a block of zeros";
}

TEST_F(NumberFormats, Q4BlocksPutTheExtremeAtMinusEightAndSplitTheirHalves) {
  std::vector<float> values(32, 0.0f);
  values[0] = -8.0f;   // d = 1
  values[16] = 7.0f;   // high nibble of byte 0
  values[1] = 7.9f;    // rounds to 8, held at 7
  values[31] = -2.4f;  // high nibble of byte 15
  std::vector<uint8_t> out(kQ4BlockBytes);
  encode_q4_0(values.data(), 32, out.data());
  EXPECT_EQ(out[0] | out[1] << 8, 0x3c00);
  EXPECT_EQ(out[2], 0xf0);   // -8 -> 0, 7 -> 15
  EXPECT_EQ(out[3], 0x8f);   // 15 low, 0 -> 8 high
  EXPECT_EQ(out[17], 0x68);  // -2.4 -> 6 high
}

TEST_F(NumberFormats, WhatIsNotFiniteOrTooLargeIsRefused) {
  std::vector<uint8_t> out(kQ8BlockBytes);
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (float bad : {infinity, -infinity, nan}) {
    std::vector<float> values(32, 1.0f);
    values[7] = bad;
    EXPECT_ERROR(encode_q8_0(values.data(), 32, out.data()), ErrorKind::corrupt,
                 "it holds a value that is not finite, which GGUF blocks cannot carry")
        << bad;
    EXPECT_ERROR(encode_q4_0(values.data(), 32, out.data()), ErrorKind::corrupt,
                 "it holds a value that is not finite, which GGUF blocks cannot carry")
        << bad;
    Tensor w = Tensor::from<float>(owned_.exec, values, {4, 8});
    EXPECT_ERROR(quantise(w), ErrorKind::corrupt, "it holds a value that is not finite, which FP8 blocks cannot carry")
        << bad;
  }
  std::vector<float> huge(32, 1e8f);  // a scale of 1e8 / 127 is no half
  EXPECT_ERROR(encode_q8_0(huge.data(), 32, out.data()), ErrorKind::unsupported,
               "a block's scale of 787401.56 passes the half's limit of 65504");
}

TEST_F(NumberFormats, EncodingDoesNotDependOnThreads) {
  const Tensor rows = random({700, 96}, 5);
  OwnedExec one{1}, many{5};
  for (Encoding encoding : {Encoding::f32, Encoding::bf16, Encoding::q8_0, Encoding::q4_0}) {
    const Tensor a = encode_rows(one.exec, rows, encoding), b = encode_rows(many.exec, rows, encoding);
    ASSERT_EQ(a.shape(), b.shape());
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(), size_t(a.bytes())), 0) << int(encoding);
  }
}

}  // namespace
}  // namespace hadal
