// Conversions of every instruction set, and of the emulated device, are the host's, bit by bit.
#include "kernels/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/float_formats.h"
#include "kernels/places_fixture.h"

namespace hadal::kernels {
namespace {

TEST(Convert, RoundsToBf16AsTheHostDoes) {
  std::vector<float> x;
  for (uint32_t high = 0; high < 0x10000; ++high) {
    for (uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      x.push_back(std::bit_cast<float>(high << 16 | low));
  }
  x.resize(x.size() - 3);  // ends inside a vector
  for (const kernels_test::Place& place : kernels_test::places()) {
    const kernels_test::ExecAt at(place, 2);
    std::vector<bf16> y(x.size());
    const int64_t n = int64_t(x.size());
    convert(at.twin(), {{y.data(), n, DType::bf16}, {x.data(), n, DType::f32}, 1, n, at.exec.compute});
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i].bits, bf16::round(x[i])) << place.name() << " " << x[i];
    std::vector<float> back(x.size());
    convert(at.twin(), {{back.data(), n, DType::f32}, {y.data(), n, DType::bf16}, 1, n, at.exec.compute});
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(std::bit_cast<uint32_t>(back[i]), uint32_t(y[i].bits) << 16) << place.name();
  }
}

// Every scale of a byte, and numbers of every kind rounded up to one; a device narrows powers of two alone.
TEST(Convert, ScalesOfAByteAreThoseOfTheHost) {
  std::vector<uint8_t> bytes(256);
  for (size_t i = 0; i < 256; ++i) bytes[i] = uint8_t(i);
  std::vector<float> numbers{0.0f, -0.0f, -1.0f, 0x1p-149f, 0x1p-128f, 0x1.8p-127f, 0x1.fp127f, 1e-40f};
  numbers.push_back(std::numeric_limits<float>::infinity()), numbers.push_back(std::nanf(""));
  for (uint32_t i = 0; i < 5000; ++i) numbers.push_back(std::bit_cast<float>(i * 859433u));
  for (const kernels_test::Place& place : kernels_test::places()) {
    const kernels_test::ExecAt at(place, 2);
    std::vector<float> wide(256);
    convert(at.twin(), {{wide.data(), 256, DType::f32}, {bytes.data(), 256, DType::f8_e8m0}, 1, 256, at.exec.compute});
    for (size_t i = 0; i < 256; ++i) {
      e8m0 scale;
      scale.bits = bytes[i];
      ASSERT_EQ(std::isnan(wide[i]), i == 255);
      if (i < 255) {
        ASSERT_EQ(wide[i], float(scale)) << place.name() << " " << i;
      }
    }
    const std::vector<float>& from = place.on_device ? wide : numbers;
    const auto n = int64_t(from.size());
    std::vector<uint8_t> narrow(from.size());
    convert(
        at.twin(),
        {{narrow.data(), n, DType::f8_e8m0}, {const_cast<float*>(from.data()), n, DType::f32}, 1, n, at.exec.compute});
    for (size_t i = 0; i < from.size(); ++i)
      ASSERT_EQ(narrow[i], e8m0::round_up(from[i])) << place.name() << " " << from[i];
  }
}

TEST(Convert, KnowsEveryPairOfFormats) {  // on the CPU; a device knows those of training
  const DType all[] = {DType::f64, DType::f32, DType::bf16, DType::f16,    DType::f8_e4m3,
                       DType::i64, DType::i32, DType::u8,   DType::f8_e8m0};
  for (Isa isa : available_isas()) {
    for (DType from : all) {
      for (DType to : all) {
        double two[3] = {2, 2, 2}, back[3];
        alignas(8) char x[24], y[24];
        convert({.isa = isa}, {{x, 3, from}, {two, 3, DType::f64}, 1, 3});
        convert({.isa = isa}, {{y, 3, to}, {x, 3, from}, 1, 3});
        convert({.isa = isa}, {{back, 3, DType::f64}, {y, 3, to}, 1, 3});
        EXPECT_EQ(back[2], 2) << isa_name(isa) << " " << dtype_name(from) << " to " << dtype_name(to);
      }
    }
  }
}

TEST(Convert, ZeroesRowsAndNothingBetweenThem) {
  for (const kernels_test::Place& place : kernels_test::places()) {
    const kernels_test::ExecAt at(place, 1);
    std::vector<float> y(12, 1.0f);
    zero_rows(at.twin(), {{y.data(), 4, DType::f32}, 3, 2});
    for (size_t i = 0; i < 12; ++i) EXPECT_EQ(y[i], i % 4 < 2 ? 0.0f : 1.0f) << place.name();
  }
}

}  // namespace
}  // namespace hadal::kernels
