// Weight: what products read of a parameter, a matrix [out, in] or those of all experts [experts, out, in]. One value
// in up to four forms, so that each product finds the one that it multiplies and nothing is made anew at every call:
//   plain   a tensor, f64, f32, bf16 or f16; of experts also one tensor each, wherever they lie (mapped from a file)
//   codes   FP8 in square tiles with their scales (§3.5), for products whose other operand comes as codes; in blocks of
//           MX, which run along one dimension, two sets: for y = x W^T, and `turned` for dx = dy W
//   panels  packed for an instruction set (kernels/gemm_panels.h): for a few rows at a time, or because FP8, int8 and
//           int4 are read there as they are kept
//   heads   panels too, of a matrix that products of single heads read (kv_b in the absorbed form, §1.3)
// The forms are made and refreshed together by ops/weight.h; `version` counts how often.
#pragma once
#include <memory>
#include <vector>

#include "kernels/gemm_panels.h"
#include "tensor/cut_matrix.h"
#include "tensor/quantised.h"

namespace hadal {

using kernels::PanelType;

enum class WeightForm : uint8_t { plain, codes, panels, heads };

struct Panels {
  Tensor elements;  // [1, experts or heads; a matrix's panels]: f32, bf16, f8_e4m3, or u8, the bytes of integer groups
  Tensor scales;    // of FP8: f32 [1 or experts, scales of a matrix], of blocks of 128 x 128
  PanelType type = PanelType::f32;
  int64_t panel_cols = 0;  // of the instruction set they were packed for
  explicit operator bool() const { return bool(elements); }
};

// A matrix [count * (nope + v), rank] as its heads: of each nope rows W_UK,h and v rows W_UV,h.
struct Heads {
  int64_t count = 0, nope = 0, v = 0;
};
struct HeadPanels {
  Heads heads;
  Panels keys;    // of W_UK,h^T [rank, nope]: what y = x W_UK,h reads
  Panels values;  // of W_UV,h [v, rank]: what y = x W_UV,h^T reads
  explicit operator bool() const { return bool(keys); }
};

// How codes are made of a weight.
struct CodeForm {
  Tile tile = kSquareTile, turned = kSquareTile;  // for y = x W^T, for dx = dy W: where they are equal, one set is both
  ScaleRule rule = ScaleRule::exact;
  DType source = DType::f32;                  // what products make of them, whatever they were made from
  std::shared_ptr<const CutMatrix> cut = {};  // whose part the weight is; null: a whole one
  bool operator==(const CodeForm&) const = default;
  bool two_sets() const { return !(tile == turned); }
  // Whether ranks make the codes together, all of them at the same time.
  bool shared() const { return cut && (cut->cuts(tile) || cut->cuts(turned)); }
  int64_t bytes(const Shape& shape) const;  // of the codes of such a weight, with their scales
};

struct Weight {
  Tensor plain;                 // empty where only another form is kept
  std::vector<Tensor> experts;  // instead of plain: one [out, in] each, of one dtype
  Quantised codes, turned;      // turned: empty where codes serve both products, or the weight only runs forward
  std::shared_ptr<const CutMatrix> cut;  // whose part the codes are of (CodeForm)
  Panels panels;
  HeadPanels heads;
  Shape shape;
  DType dtype = DType::f32;  // of the values meant
  int64_t version = 0;

  Weight() = default;
  explicit Weight(Tensor tensor);
  explicit Weight(Quantised quantised);  // stored as codes: there are no others
  static Weight of_experts(std::vector<Tensor> experts);

  bool has(WeightForm form) const;
  bool is_stack() const { return shape.size() == 3; }
  int64_t n_experts() const { return is_stack() ? shape[0] : 1; }
  int64_t out() const { return shape[shape.size() - 2]; }
  int64_t in() const { return shape.back(); }
  const Quantised& codes_for_inputs() const { return turned.codes ? turned : codes; }  // what dx = dy W reads
  int64_t bytes() const;                                                               // of all forms
  Tensor matrix(int64_t expert) const;  // plain [out, in]; throws internal when there is none
};

}  // namespace hadal
