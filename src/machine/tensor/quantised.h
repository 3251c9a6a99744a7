// Quantised: a matrix as FP8 E4M3 codes with one scale per tile (§3.5): value = code * scale of its tile. Or E5M6 codes
// (12 bits, in two planes) of rows in tiles of 128 with a power of two as E8M0 (kernels/e5m6_tiles.h): what is kept of
// an activation that attention's backward reads; no product multiplies these.
//   codes [.., rows, cols] f8_e4m3; scales [.., ceil(rows / tile.rows), ceil(cols / tile.cols)] f32, or f8_e8m0 of
//   powers of two, a byte each. Tiles at the right and lower edge may be partial; in a stack of matrices
//   [E, rows, cols] none crosses from one matrix into the next. Of a matrix cut out of a larger one (cut_matrix.h)
//   those at the left or upper edge may be partial too: `origin` says where in its tile it begins.
// Activation: what layers hand to one another and to the products, a Tensor or a Quantised. A plain Tensor converts to
// it, so code that knows no codes stays as it is; codes made once (by a norm, before dispatch) serve every product that
// reads them.
#pragma once
#include <variant>
#include <vector>

#include "tensor/cut_matrix.h"
#include "tensor/tensor.h"

namespace hadal {

// A product needs its tiles along the dimension that it sums: activations and their gradients for y = x W^T and dx = dy
// W; weights, for both; the same activations for dW = dy^T x, which sums over tokens.
inline constexpr Tile kRowTile{1, 128}, kSquareTile{128, 128}, kColumnTile{128, 1};

// The blocks of MX formats: rows of x, dy and, for y = x W^T, of W; columns of W for dx = dy W, and over tokens for
// dW = dy^T x.
inline constexpr Tile kMxRowTile{1, 32}, kMxColumnTile{32, 1};

// exact: amax / 448 in FP32; power_of_two: the next power of two of that; ocp: 2^(floor(log2 amax) - 8), the rule of
// the Open Compute Project's MX formats, under which what lies above 448 of it saturates (one block in five has such).
enum class ScaleRule : uint8_t { exact, power_of_two, ocp };
DType scale_type(ScaleRule rule);  // in which such scales are kept: f32; powers of two f8_e8m0
// The least maximum of a tile. Weights, in training and in files, and the cache of latents have the released 1e-4;
// activations and gradients none, since gradients of a mean over many tokens lie below any (a loss times 2^k then has
// the same codes, and scales times 2^k).
enum class AmaxFloor : uint8_t { none, released };

struct Quantised {
  Tensor codes, scales;
  Tile tile;
  DType source = DType::f32;          // of the tensor that the codes stand for, and of what products make from them
  ScaleRule rule = ScaleRule::exact;  // of its scales: only codes with powers of two may be made again in other tiles
  bool powers_of_two() const { return rule != ScaleRule::exact; }

  static Quantised empty(const Exec& exec, const Shape& shape, Tile tile, DType source,
                         ScaleRule rule = ScaleRule::exact);
  static Quantised empty(const Exec& exec, const Shape& shape, Tile tile, DType source, ScaleRule rule, DType scales,
                         TileOrigin origin = {});
  Tensor lower = {};  // of E5M6: the lower halves [rows, ceil(cols / 2)] u8; codes then u8, scales f8_e8m0
  TileOrigin origin = {};

  // Of a part that begins at an even column: two columns share a byte.
  static Quantised empty_e5m6(const Exec& exec, const Shape& shape, DType source, TileOrigin origin = {});
  static int64_t bytes_of(const Shape& shape, Tile tile, DType scales = DType::f32);  // of codes and scales
  static int64_t e5m6_bytes_of(const Shape& shape);
  bool is_e5m6() const { return bool(lower); }
  int64_t bytes() const;
  int64_t rows() const { return codes.rows(); }
  int64_t cols() const { return codes.cols(); }
  int axis() const { return tile.rows > tile.cols ? 0 : 1; }  // along which a row or column tile runs
  Quantised row_range(int64_t first, int64_t count) const;    // of one matrix; begins where it or a tile begins
  Quantised col_range(int64_t first, int64_t count) const;
  Quantised slice(int64_t index) const;                  // one matrix of a stack
  Quantised slices(int64_t first, int64_t count) const;  // a stack of some of its matrices
  Quantised with_wide_scales(const Exec& exec) const;    // the same codes with scales in f32, as kernels take them

  // As kernels take them, whose tiles begin with the matrix: itself, or its parts before and behind the first edges of
  // tiles.
  struct Aligned;
  std::vector<Aligned> aligned() const;
};
struct Quantised::Aligned {
  int64_t first_row = 0, first_col = 0;
  Quantised codes;  // without an origin
};

// The released quantiser (§3.5), by the rule of `to`: s = max(amax of the tile, floor) / 448, not below 2^-126; a power
// of two by its rule; 1 for a tile of zeros without a floor; code = e4m3(x / s), to nearest even. A NaN
// stays one; a tile with an infinity becomes zeros and NaN, and all NaN where scales are E8M0, whose NaN it gets.
// to.codes and to.scales are written. E5M6: so with 65024, powers of two and no floor. Of a part of a cut matrix see
// tensor/shared_tiles.h.
void quantise(const Exec& exec, const Quantised& to, const Tensor& from, AmaxFloor floor);
void dequantise(const Exec& exec, const Tensor& to, const Quantised& from);  // to: f64, f32 or bf16

class Activation {
 public:
  Activation() = default;
  Activation(Tensor tensor) : value_(std::move(tensor)) {}
  Activation(Quantised codes) : value_(std::move(codes)) {}

  explicit operator bool() const { return bool(is_quantised() ? quantised().codes : std::get<Tensor>(value_)); }
  bool is_quantised() const { return std::holds_alternative<Quantised>(value_); }
  const Tensor& tensor() const;        // throws internal when there are codes
  const Quantised& quantised() const;  // throws internal when there are none
  const Shape& shape() const { return stored().shape(); }
  int64_t rows() const { return stored().rows(); }
  int64_t cols() const { return stored().cols(); }
  DType dtype() const { return is_quantised() ? quantised().source : tensor().dtype(); }  // of the values meant
  int64_t bytes() const;                                                                  // kept in memory
  Activation row_range(int64_t first, int64_t count) const;
  Activation col_range(int64_t first, int64_t count) const;
  void reset() { value_ = Tensor(); }

 private:
  const Tensor& stored() const { return is_quantised() ? quantised().codes : tensor(); }

  std::variant<Tensor, Quantised> value_;
};

}  // namespace hadal
