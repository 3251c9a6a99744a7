// CutMatrix: a matrix of which ranks hold parts, cut along its rows or its columns. Tiles of FP8 codes
// (tensor/quantised.h) begin where the whole matrix begins, so one may lie on several parts; its scale is then that of
// all of it, which the holders find together: each tells those who hold more of a tile the maximum of its own part.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace hadal {

struct Tile {
  int64_t rows = 1, cols = 128;
  bool operator==(const Tile&) const = default;
};
struct TileOrigin {  // where in its tile a matrix begins
  int64_t rows = 0, cols = 0;
  bool operator==(const TileOrigin&) const = default;
};

struct CutMatrix {
  int axis = 1;               // 0: rows are cut, 1: columns
  std::vector<int64_t> ends;  // part p has ends[p - 1] .. ends[p] of them, the first those from 0 on; none is empty
  int part = 0;               // which lies here
  // to[p] goes to the holder of part p; returns what each of them sent here. All holders call it for the same matrices
  // in the same order.
  using Maxima = std::vector<float>;
  std::function<std::vector<Maxima>(const std::vector<Maxima>& to)> exchange;

  int64_t begin(size_t p) const { return p == 0 ? 0 : ends[p - 1]; }
  int64_t begin() const { return begin(size_t(part)); }
  int64_t end() const { return ends[size_t(part)]; }
  int64_t along(Tile tile) const { return axis == 0 ? tile.rows : tile.cols; }
  bool cuts(Tile tile) const;          // whether a tile lies on several parts, here or elsewhere
  TileOrigin origin(Tile tile) const;  // of the part here
  // Columns cut at the same places, where `from` indexes of this one stand for `to` columns: those of heads.
  CutMatrix columns(int64_t from, int64_t to) const;
};

TileOrigin origin_of(const CutMatrix* cut, Tile tile);  // null: of a whole matrix

}  // namespace hadal
