// E4M3 against PyTorch's own cast (ml_dtypes, another stranger, is not among the packages of the tests): the formula of
// the host, and the tiles of every instruction set and of the emulated device, give torch's codes to every BF16 number
// and at every border between two codes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/files.h"
#include "base/float_formats.h"
#include "kernels/fp8_tiles_fixture.h"

namespace hadal::kernels {
namespace {

using kernels_test::Coded, kernels_test::Place, kernels_test::Sizes, kernels_test::encoded;

class E4m3Peer : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string python = std::string(HADAL_SOURCE_DIR) + "/.venv/bin/python";
    if (!std::filesystem::exists(python)) GTEST_SKIP() << "no .venv in the source directory; ./setup makes it";
    std::filesystem::create_directories(directory_);
    const std::string command =
        fmt::format("'{}' -B '{}/tests/oracle/e4m3_codes.py' '{}'", python, HADAL_SOURCE_DIR, directory_.string());
    ASSERT_EQ(std::system(command.c_str()), 0);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  template <class T>
  std::vector<T> read(const std::string& name) const {
    const std::string bytes = read_file(directory_ / name);
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }

 private:
  const std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / fmt::format("hadal_e4m3_{}", ::getpid());
};

// Numbers that tiles with scale 1 can hold: rows of 128 whose first has this magnitude. By OCP's rule a tile whose
// largest lies below 512 has that scale too, and saturates; NaN has tiles of its own, as it has paths of its own.
struct InTiles {
  std::vector<float> values;
  std::vector<uint8_t> codes;
};

InTiles in_tiles(const std::vector<float>& numbers, const std::vector<uint8_t>& codes, float first, bool nan) {
  InTiles tiles;
  const auto add = [&](float value, uint8_t code) { tiles.values.push_back(value), tiles.codes.push_back(code); };
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (nan ? !std::isnan(numbers[i]) : !(std::fabs(numbers[i]) <= first)) continue;
    if (tiles.values.size() % 128 == 0) add(first, 0x7e);
    add(numbers[i], codes[i]);
  }
  while (tiles.values.size() % 128 != 0) add(0, 0);
  return tiles;
}

template <class T>
void expect_codes(const InTiles& tiles, bool ocp) {
  const std::vector<T> values(tiles.values.begin(), tiles.values.end());
  for (const Place& place : kernels_test::places()) {
    const Coded<T> ours = encoded(place, Sizes{1, int64_t(values.size()) / 128, 128, 1, 128}, values, false, 0, ocp);
    for (const float scale : ours.scales) ASSERT_EQ(scale, 1.0f) << place.name();
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_EQ(int(ours.codes[i]), int(tiles.codes[i])) << place.name() << " " << tiles.values[i];
  }
}

TEST_F(E4m3Peer, EveryBf16NumberAndEveryBorderOfCodesHasTorchsCode) {
  const auto decoded = read<float>("decoded.f32"), numbers = read<float>("numbers.f32");
  const auto codes = read<uint8_t>("numbers.u8");
  ASSERT_EQ(decoded.size(), 256u);
  ASSERT_EQ(numbers.size(), 65536u + 2 * (127 + 3 * 126));
  ASSERT_EQ(codes.size(), numbers.size());
  for (size_t i = 0; i < decoded.size(); ++i) {
    e4m3 code;
    code.bits = uint8_t(i);
    if (std::isnan(decoded[i])) {
      EXPECT_TRUE(std::isnan(float(code))) << i;
    } else {
      EXPECT_EQ(float(code), decoded[i]) << i;
    }
  }
  for (size_t i = 0; i < numbers.size(); ++i) ASSERT_EQ(int(e4m3::round(numbers[i])), int(codes[i])) << numbers[i];

  for (const bool nan : {false, true}) expect_codes<float>(in_tiles(numbers, codes, 448, nan), false);
  expect_codes<float>(in_tiles(numbers, codes, 511, false), true);
  const std::vector<float> bf16_numbers(numbers.begin(), numbers.begin() + 65536);
  for (const bool nan : {false, true}) expect_codes<bf16>(in_tiles(bf16_numbers, codes, 448, nan), false);
  expect_codes<bf16>(in_tiles(bf16_numbers, codes, 510, false), true);
}

// Scales and all: tiles of 16 binades each, from the smallest numbers to the largest.
TEST_F(E4m3Peer, TilesOfEveryFiniteBf16NumberHaveItsQuantisersScalesAndCodes) {
  const auto values = read<float>("tiles.f32");
  ASSERT_EQ(values.size(), 65536u);
  const Sizes sizes{1, 512, 128, 1, 128};
  for (const char* rule : {"exact", "power_of_two"}) {
    const bool power = std::string(rule) == "power_of_two";
    const auto codes = read<uint8_t>(std::string(rule) + ".u8");
    const auto scales = read<float>(std::string(rule) + ".f32");
    for (const Place& place : kernels_test::places()) {
      const auto of_f32 = encoded(place, sizes, values, power);
      EXPECT_EQ(of_f32.scales, scales) << place.name() << " " << rule;
      EXPECT_EQ(of_f32.codes == codes, true) << place.name() << " " << rule;
      const auto of_bf16 = encoded(place, sizes, std::vector<bf16>(values.begin(), values.end()), power);
      EXPECT_EQ(of_bf16.scales, scales) << place.name() << " " << rule << ", BF16";
      EXPECT_EQ(of_bf16.codes == codes, true) << place.name() << " " << rule << ", BF16";
    }
  }
}

}  // namespace
}  // namespace hadal::kernels
