#include "tensor/shared_tiles.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hadal {
namespace {

// A tile that lies on several parts, as far as it is here.
struct SharedTile {
  int64_t begin = 0, end = 0;    // of all of it, in the whole matrix
  int64_t first = 0, count = 0;  // of what is here, in the part
  Tensor values = {};            // of that, f32, and a row or column more
};

template <class T>
T along(const T& matrix, int axis, int64_t first, int64_t count) {
  return axis == 0 ? matrix.row_range(first, count) : matrix.col_range(first, count);
}

// At most two: those at the part's ends.
std::vector<SharedTile> shared_tiles(const CutMatrix& cut, int64_t tile) {
  std::vector<SharedTile> shared;
  const auto add = [&](int64_t index) {
    SharedTile s{index / tile * tile, index / tile * tile + tile};
    s.first = std::max(s.begin - cut.begin(), int64_t(0));
    s.count = std::min(s.end, cut.end()) - cut.begin() - s.first;
    shared.push_back(s);
  };
  if (cut.begin() % tile != 0) add(cut.begin());
  const bool inside = cut.end() % tile != 0 && cut.end() < cut.ends.back();
  if (inside && (shared.empty() || cut.end() > shared.front().end)) add(cut.end());
  return shared;
}

// The values in FP32 with a row or column of zeros behind them, for what others hold.
Tensor with_room(const Exec& exec, const Tensor& values, int axis) {
  const Tensor wide =
      Tensor::zeros(exec, DType::f32, {values.rows() + (axis == 0 ? 1 : 0), values.cols() + (axis == 0 ? 0 : 1)});
  wide.row_range(0, values.rows()).col_range(0, values.cols()).copy_from(exec, values);
  return wide;
}

// The largest magnitude of each tile that lies across the cut, line by line; a NaN is none.
CutMatrix::Maxima maxima_of(const Exec& exec, const Tensor& values, int axis, int64_t line) {
  const int64_t extent = axis == 0 ? values.cols() : values.rows();
  CutMatrix::Maxima maxima(size_t((extent + line - 1) / line), 0.0f);
  constexpr int64_t kLines = 64;
  const int64_t n = int64_t(maxima.size());
  exec.compute->parallel_for((n + kLines - 1) / kLines, [&](int64_t task, int) {
    for (int64_t i = task * kLines; i < std::min(n, (task + 1) * kLines); ++i) {
      const Tensor own = along(values, 1 - axis, i * line, std::min(line, extent - i * line));
      float most = 0;
      for (int64_t r = 0; r < own.rows(); ++r) {
        const float* x = own.data<float>() + r * own.row_stride();
        for (int64_t c = 0; c < own.cols(); ++c) most = std::fabs(x[c]) > most ? std::fabs(x[c]) : most;
      }
      maxima[size_t(i)] = most;
    }
  });
  return maxima;
}

// What came for a tile, the larger of each, as numbers beside its values: they make its scale.
void put_beside(const Tensor& values, int axis, int64_t line, const CutMatrix::Maxima& others) {
  for (int64_t i = 0; i < int64_t(others.size()); ++i) {
    const int64_t row = axis == 0 ? values.rows() - 1 : i * line, col = axis == 0 ? i * line : values.cols() - 1;
    values.data<float>()[row * values.row_stride() + col] = others[size_t(i)];
  }
}

// Codes and scales, but for the number beside the values.
void take_codes(const Exec& exec, const Quantised& to, const Quantised& from, int axis) {
  const int64_t count = axis == 0 ? to.rows() : to.cols();
  to.codes.copy_from(exec, along(from.codes, axis, 0, count));
  to.scales.copy_from(exec, from.scales);
  if (!to.is_e5m6()) return;
  to.lower.copy_from(exec, from.lower.col_range(0, to.lower.cols()));
  if (count % 2 == 0) return;
  for (int64_t r = 0; r < to.rows(); ++r) to.lower.row_range(r, 1).data<uint8_t>()[count / 2] &= 15u;
}

// Codes and scales of this part are those of the whole matrix, to the bit.
void quantise_part(const Exec& exec, const Quantised& to, const Tensor& from, AmaxFloor floor, const CutMatrix& cut) {
  check(from.on_host(), ErrorKind::unsupported, "FP8 tiles that lie on several ranks are made on the CPU alone");
  const int axis = cut.axis;
  const int64_t tile = cut.along(to.tile), line = axis == 0 ? to.tile.cols : to.tile.rows;
  const int64_t size = axis == 0 ? to.rows() : to.cols();
  check(size == cut.end() - cut.begin(), ErrorKind::internal, "a part of {} of a matrix cut at {} .. {}", size,
        cut.begin(), cut.end());
  std::vector<SharedTile> shared = shared_tiles(cut, tile);
  std::vector<CutMatrix::Maxima> mine(cut.ends.size());
  for (SharedTile& s : shared) {
    s.values = with_room(exec, along(from, axis, s.first, s.count), axis);
    const CutMatrix::Maxima maxima = maxima_of(exec, s.values, axis, line);
    for (size_t p = 0; p < mine.size(); ++p)
      if (int(p) != cut.part && cut.begin(p) < s.end && cut.ends[p] > s.begin) mine[p] = maxima;
  }
  const std::vector<CutMatrix::Maxima> theirs = cut.exchange(mine);
  int64_t first = 0, end = size;  // of the whole tiles between
  for (const SharedTile& s : shared) {
    CutMatrix::Maxima others;
    for (size_t p = 0; p < mine.size(); ++p) {
      if (mine[p].empty() || cut.begin(p) >= s.end || cut.ends[p] <= s.begin) continue;
      check(theirs[p].size() == mine[p].size(), ErrorKind::internal, "{} maxima of tiles came for {}", theirs[p].size(),
            mine[p].size());
      others.resize(mine[p].size());
      for (size_t i = 0; i < others.size(); ++i) others[i] = std::max(others[i], theirs[p][i]);
    }
    put_beside(s.values, axis, line, others);
    const Quantised part = along(to, axis, s.first, s.count);
    const Quantised made =
        to.is_e5m6() ? Quantised::empty_e5m6(exec, s.values.shape(), to.source)
                     : Quantised::empty(exec, s.values.shape(), to.tile, to.source, to.rule, to.scales.dtype());
    quantise(exec, made, s.values, floor);
    take_codes(exec, part, made, axis);
    s.first == 0 ? first = s.count : end = s.first;
  }
  if (first < end) quantise(exec, along(to, axis, first, end - first), along(from, axis, first, end - first), floor);
}

}  // namespace

void quantise(const Exec& exec, const Quantised& to, const Tensor& from, AmaxFloor floor, const CutMatrix* cut) {
  cut && cut->cuts(to.tile) ? quantise_part(exec, to, from, floor, *cut) : quantise(exec, to, from, floor);
}

}  // namespace hadal
