// Tiles of FP8 codes as tests make them: any sizes, at any place.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/fp8_tiles.h"
#include "kernels/places_fixture.h"

namespace hadal::kernels_test {

template <class T>
struct Coded {
  std::vector<T> values;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  bool operator==(const Coded&) const = default;
};

struct Sizes {
  int64_t matrices, rows, cols, tile_rows, tile_cols;
};

template <class T>
Coded<T> encoded(const Place& place, const Sizes& s, const std::vector<T>& values, bool power_of_two,
                 float smallest_amax = 0, bool ocp = false) {
  const ExecAt at(place, 2);
  const int64_t bands = (s.rows + s.tile_rows - 1) / s.tile_rows, across = (s.cols + s.tile_cols - 1) / s.tile_cols;
  Coded<T> r{values, std::vector<uint8_t>(values.size()), std::vector<float>(size_t(s.matrices * bands * across))};
  kernels::fp8_encode(at.twin(), {.values = {r.values.data(), s.cols, dtype_of<T>()},
                                  .codes = r.codes.data(),
                                  .scales = r.scales.data(),
                                  .codes_stride = s.cols,
                                  .scales_stride = across,
                                  .matrices = s.matrices,
                                  .rows = s.rows,
                                  .cols = s.cols,
                                  .tile_rows = s.tile_rows,
                                  .tile_cols = s.tile_cols,
                                  .power_of_two = power_of_two,
                                  .ocp = ocp,
                                  .smallest_amax = smallest_amax,
                                  .lane = at.exec.compute});
  return r;
}

}  // namespace hadal::kernels_test
