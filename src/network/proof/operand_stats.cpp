#include "proof/operand_stats.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "base/error.h"

namespace hadal {
namespace {

constexpr float kSaturated = 465.0f / 448.0f;  // 464 is the last that rounds to 448

// How many binades below `largest` the magnitude lies, by exponents and then mantissas: floor(log2(largest / x)).
int binades_below(float largest, float x) {
  const uint32_t a = std::bit_cast<uint32_t>(largest), b = std::bit_cast<uint32_t>(x);
  const int difference = int(a >> 23) - int(b >> 23);  // a subnormal counts as the smallest normal
  return difference - ((a & 0x7fffffu) < (b & 0x7fffffu) ? 1 : 0);
}

struct Band {  // of tiles
  const float* values;
  const float* meant;
  const uint8_t* codes;
  int64_t rows, cols, stride, codes_stride, tile_cols;
};

template <class F>
void each_tile(const Band& band, F&& f) {
  for (int64_t tile = 0, first = 0; first < band.cols; ++tile, first += band.tile_cols)
    f(size_t(tile), first, std::min(band.cols, first + band.tile_cols));
}

std::vector<float> largest_of(const Band& band) {
  std::vector<float> largest(size_t((band.cols + band.tile_cols - 1) / band.tile_cols), 0.0f);
  for (int64_t r = 0; r < band.rows; ++r) {
    const float* x = band.values + r * band.stride;
    each_tile(band, [&](size_t tile, int64_t first, int64_t end) {
      float most = largest[tile];
      for (int64_t c = first; c < end; ++c) {
        const float magnitude = std::fabs(x[c]);
        if (magnitude > most && std::isfinite(magnitude)) most = magnitude;
      }
      largest[tile] = most;
    });
  }
  return largest;
}

void count_one(OperandStats& s, float x, float meant, uint8_t code, float largest) {
  ++s.count;
  if (!std::isfinite(x)) {
    ++s.not_finite;
    return;
  }
  const float magnitude = std::fabs(x);
  s.take(double(meant), double(x));
  if (magnitude == 0) return;
  ++s.nonzero;
  s.flushed += (code & 0x7fu) == 0;
  s.subnormal += (code & 0x7fu) - 1u < 7u;
  s.saturated += (code & 0x7fu) == 0x7eu && magnitude > std::fabs(meant) * kSaturated;
  ++s.histogram[size_t(std::clamp(binades_below(largest, magnitude), 0, OperandStats::kBuckets - 1))];
}

OperandStats stats_of(const Band& band) {
  OperandStats s;
  const std::vector<float> largest = largest_of(band);
  for (const float most : largest) {
    if (most == 0) continue;
    s.largest_tile = std::max(s.largest_tile, most);
    s.smallest_tile = s.smallest_tile == 0 ? most : std::min(s.smallest_tile, most);
  }
  for (int64_t r = 0; r < band.rows; ++r) {
    const float *x = band.values + r * band.stride, *meant = band.meant + r * band.cols;
    const uint8_t* codes = band.codes + r * band.codes_stride;
    each_tile(band, [&](size_t tile, int64_t first, int64_t end) {
      for (int64_t c = first; c < end; ++c) count_one(s, x[c], meant[c], codes[c], largest[tile]);
    });
  }
  return s;
}

}  // namespace

void OperandStats::merge(const OperandStats& o) {
  count += o.count, nonzero += o.nonzero, flushed += o.flushed, saturated += o.saturated, subnormal += o.subnormal;
  not_finite += o.not_finite, add(o);
  largest_tile = std::max(largest_tile, o.largest_tile);
  if (o.smallest_tile > 0)
    smallest_tile = smallest_tile == 0 ? o.smallest_tile : std::min(smallest_tile, o.smallest_tile);
  for (size_t i = 0; i < histogram.size(); ++i) histogram[i] += o.histogram[i];
}

double OperandStats::binades() const {
  return smallest_tile > 0 ? std::log2(double(largest_tile) / double(smallest_tile)) : 0;
}

OperandStats operand_stats(const Exec& exec, const Tensor& values, const Quantised& codes) {
  check(!codes.is_e5m6() && values.rows() == codes.rows() && values.cols() == codes.cols(), ErrorKind::internal,
        "statistics of {} values and {} codes", shape_text(values.shape()), shape_text(codes.codes.shape()));
  OperandStats all;
  if (!(codes.origin == TileOrigin())) {  // a rank's part: of tiles at its ends what is here
    for (const Quantised::Aligned& part : codes.aligned()) {
      const Tensor rows = values.row_range(part.first_row, part.codes.rows());
      all.merge(operand_stats(exec, rows.col_range(part.first_col, part.codes.cols()), part.codes));
    }
    return all;
  }
  const Tensor x = values.dtype() == DType::f32 ? values : values.to(exec, DType::f32);
  const Tensor meant = Tensor::empty(exec, DType::f32, codes.codes.shape());
  dequantise(exec, meant, codes);
  // A stack of matrices: no tile crosses from one into the next.
  const int64_t matrices = codes.codes.shape().size() == 3 ? codes.codes.dim(0) : 1;
  const int64_t rows = matrices == 0 ? 0 : codes.rows() / matrices;
  const int64_t tile_rows = std::min(codes.tile.rows, std::max<int64_t>(rows, 1));
  const int64_t bands = (rows + tile_rows - 1) / tile_rows;
  std::vector<OperandStats> parts(size_t(matrices * bands));
  exec.compute->parallel_for(matrices * bands, [&](int64_t task, int) {
    const int64_t first = task % bands * tile_rows, row = task / bands * rows + first;
    parts[size_t(task)] = stats_of({x.data<float>() + row * x.row_stride(), meant.data<float>() + row * codes.cols(),
                                    static_cast<const uint8_t*>(codes.codes.raw()) + row * codes.codes.row_stride(),
                                    std::min(tile_rows, rows - first), codes.cols(), x.row_stride(),
                                    codes.codes.row_stride(), codes.tile.cols});
  });
  for (const OperandStats& part : parts) all.merge(part);
  return all;
}

}  // namespace hadal
