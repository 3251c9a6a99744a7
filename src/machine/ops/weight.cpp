#include "ops/weight.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"
#include "tensor/shared_tiles.h"

namespace hadal::ops {
namespace {

// Anew, in memory that is there; of the plain form or of `from`, which it rounds.
void make_codes(const Exec& exec, Weight& weight, const Tensor& from = {}) {
  for (const Quantised* set : {&weight.codes, &weight.turned}) {
    if (!set->codes) continue;
    if (from || weight.experts.empty()) {
      hadal::quantise(exec, *set, from ? from : weight.plain, AmaxFloor::released, weight.cut.get());
      continue;
    }
    for (int64_t e = 0; e < weight.n_experts(); ++e)
      hadal::quantise(exec, set->slice(e), weight.matrix(e), AmaxFloor::released);
  }
}

CodeForm form_of(const Weight& weight) {
  const Quantised& codes = weight.codes;
  return {codes.tile, weight.codes_for_inputs().tile, codes.rule, codes.source, weight.cut};
}

PanelType native_type(const Weight& weight) {
  check(weight.dtype == DType::f32 || weight.dtype == DType::bf16, ErrorKind::unsupported,
        "a weight of {} is not packed in panels; in fp32 and bf16 weights are", dtype_name(weight.dtype));
  return kernels::panel_type_of(weight.dtype);
}

DType element_type(PanelType type) {
  switch (type) {
    case PanelType::f32: return DType::f32;
    case PanelType::bf16: return DType::bf16;
    case PanelType::fp8: return DType::f8_e4m3;
    case PanelType::int8:
    case PanelType::int4: return DType::u8;
  }
  return DType::u8;
}

int64_t matrix_bytes(const Exec& exec, const Shape& shape, PanelType type) {
  return kernels::gemm_panel_bytes(type, shape.back(), shape[shape.size() - 2], kernels::gemm_panel_cols(exec.isa));
}

// A matrix [out, in], or [in, out] transposed, as the i-th of the panels.
void pack_matrix(const Exec& exec, Panels& panels, int64_t i, const Tensor& from, bool transposed = false) {
  kernels::pack_panels({.b = from.raw(),
                        .b_row = transposed ? from.row_stride() : 1,
                        .b_col = transposed ? 1 : from.row_stride(),
                        .k = transposed ? from.rows() : from.cols(),
                        .n = transposed ? from.cols() : from.rows(),
                        .from = from.dtype(),
                        .type = panels.type,
                        .panels = panels.elements.row_range(i, 1).raw(),
                        .panel_cols = panels.panel_cols,
                        .lane = exec.compute});
}

// Room for n matrices of this shape, if it is not there.
void make_room(const Exec& exec, Panels& panels, PanelType type, int64_t n, const Shape& matrix) {
  check(exec.device.kind == DeviceKind::cpu, ErrorKind::unsupported,
        "panels of weights are for the CPU's vector kernels; on {} keep the plain form", device_name(exec.device));
  const int64_t width = kernels::gemm_panel_cols(exec.isa);
  if (panels && panels.panel_cols == width && panels.type == type) return;
  const DType elements = element_type(type);
  panels = {
      Tensor::empty(exec, elements, {n, matrix_bytes(exec, matrix, type) / dtype_bytes(elements)}), {}, type, width};
}

// Panels look for no NaN among their codes: a block that has one gets a NaN for its scale.
void mark_nan_blocks(const Exec& exec, const Tensor& codes, float* scales) {
  const int64_t across = (codes.cols() + kernels::kFp8Block - 1) / kernels::kFp8Block;
  const int64_t down = (codes.rows() + kernels::kFp8Block - 1) / kernels::kFp8Block;
  exec.compute->parallel_for(down, [&](int64_t band, int) {
    const int64_t first = band * kernels::kFp8Block, end = std::min(codes.rows(), first + kernels::kFp8Block);
    for (int64_t row = first; row < end; ++row) {
      const auto* code = static_cast<const uint8_t*>(codes.raw()) + row * codes.row_stride();
      for (int64_t block = 0; block < across; ++block) {
        const int64_t begin = block * kernels::kFp8Block, stop = std::min(codes.cols(), begin + kernels::kFp8Block);
        bool nan = false;
        for (int64_t i = begin; i < stop; ++i) nan |= (code[i] & 0x7f) == 0x7f;
        if (nan) scales[band * across + block] = std::nanf("");
      }
    }
  });
}

void make_fp8_panels(const Exec& exec, Weight& weight) {
  if (!weight.has(WeightForm::codes) || !(weight.codes.tile == kSquareTile)) {
    weight.codes = Quantised::empty(exec, weight.shape, kSquareTile, weight.dtype);
    weight.turned = Quantised();
    make_codes(exec, weight);
  }
  const Shape blocks = weight.codes.scales.shape();
  const int64_t per_matrix = shape_count(blocks) / weight.n_experts();
  weight.panels.scales = Tensor::empty(exec, DType::f32, {weight.n_experts(), per_matrix});
  weight.panels.scales.view(blocks).copy_from(exec, weight.codes.with_wide_scales(exec).scales);
  for (int64_t e = 0; e < weight.n_experts(); ++e) {
    const Tensor codes = weight.is_stack() ? weight.codes.codes.slice(e) : weight.codes.codes;
    pack_matrix(exec, weight.panels, e, codes);
    mark_nan_blocks(exec, codes, static_cast<float*>(weight.panels.scales.row_range(e, 1).raw()));
  }
}

void make_panels(const Exec& exec, Weight& weight, PanelType type) {
  native_type(weight);
  make_room(exec, weight.panels, type, weight.n_experts(), weight.shape);
  if (type == PanelType::fp8) return make_fp8_panels(exec, weight);
  for (int64_t e = 0; e < weight.n_experts(); ++e) pack_matrix(exec, weight.panels, e, weight.matrix(e));
}

void make_heads(const Exec& exec, Weight& weight) {
  const Heads& heads = weight.heads.heads;
  check(!weight.is_stack() && weight.out() == heads.count * (heads.nope + heads.v), ErrorKind::internal,
        "a weight {} is cut into {} heads of {} + {} rows", shape_text(weight.shape), heads.count, heads.nope, heads.v);
  const PanelType type = native_type(weight);
  make_room(exec, weight.heads.keys, type, heads.count, {weight.in(), heads.nope});
  make_room(exec, weight.heads.values, type, heads.count, {heads.v, weight.in()});
  for (int64_t h = 0; h < heads.count; ++h) {
    const int64_t first = h * (heads.nope + heads.v);
    pack_matrix(exec, weight.heads.keys, h, weight.plain.row_range(first, heads.nope), true);
    pack_matrix(exec, weight.heads.values, h, weight.plain.row_range(first + heads.nope, heads.v));
  }
}

void make(const Exec& exec, Weight& weight, WeightForm form) {
  switch (form) {
    case WeightForm::plain: return;
    case WeightForm::codes:
      weight.codes = Quantised::empty(exec, weight.shape, kSquareTile, weight.dtype);
      return make_codes(exec, weight);
    case WeightForm::panels: return make_panels(exec, weight, native_type(weight));
    case WeightForm::heads: return make_heads(exec, weight);
  }
}

// Where only codes are stored, their values.
void make_plain(const Exec& exec, Weight& weight) {
  if (weight.has(WeightForm::plain)) return;
  check(weight.has(WeightForm::codes), ErrorKind::internal, "a weight {} that keeps only panels has no other form",
        shape_text(weight.shape));
  weight.plain = Tensor::empty(exec, weight.dtype, weight.shape);
  hadal::dequantise(exec, weight.plain, weight.codes);
}

void drop_all_but(Weight& weight, WeightForm form) {
  if (form != WeightForm::plain) weight.plain.reset(), weight.experts.clear();
  if (form != WeightForm::codes) weight.codes = weight.turned = Quantised();
  if (form != WeightForm::panels) weight.panels = Panels();
  if (form != WeightForm::heads) weight.heads = HeadPanels();
}

}  // namespace

int64_t panel_bytes(const Exec& exec, const Weight& weight) {
  return panel_bytes(exec, weight.shape, native_type(weight));
}

int64_t panel_bytes(const Exec& exec, const Shape& shape, PanelType type) {
  int64_t bytes = matrix_bytes(exec, shape, type);
  if (type == PanelType::fp8)
    bytes += Quantised::bytes_of({shape[shape.size() - 2], shape.back()}, kSquareTile) -
             shape[shape.size() - 2] * shape.back();
  return (shape.size() == 3 ? shape[0] : 1) * bytes;
}

void pack(const Exec& exec, Weight& weight, PanelType type) {
  if (weight.has(WeightForm::panels) && weight.panels.type == type) return;
  if (type != PanelType::fp8 || !weight.has(WeightForm::codes)) make_plain(exec, weight);
  make_panels(exec, weight, type);
  drop_all_but(weight, WeightForm::panels);
}

void pack_heads(const Exec& exec, Weight& weight, const Heads& heads) {
  if (weight.has(WeightForm::heads)) return;
  weight.heads.heads = heads;
  keep_only(exec, weight, WeightForm::heads);
}

int64_t head_panel_bytes(const Exec& exec, const Weight& weight, const Heads& heads) {
  const PanelType type = native_type(weight);
  return heads.count *
         (matrix_bytes(exec, {weight.in(), heads.nope}, type) + matrix_bytes(exec, {heads.v, weight.in()}, type));
}

void keep(const Exec& exec, Weight& weight, WeightForm form) {
  if (weight.has(form)) return;
  make_plain(exec, weight);
  make(exec, weight, form);
}

void keep_codes(const Exec& exec, Weight& weight, const CodeForm& form, const Tensor& from) {
  if (weight.has(WeightForm::codes) && form_of(weight) == form) return;
  if (!from) make_plain(exec, weight);
  const auto set = [&](Tile tile) {
    return Quantised::empty(exec, weight.shape, tile, form.source, form.rule, scale_type(form.rule),
                            origin_of(form.cut.get(), tile));
  };
  weight.cut = form.cut;
  weight.codes = set(form.tile);
  weight.turned = form.two_sets() ? set(form.turned) : Quantised();
  make_codes(exec, weight, from);
}

void keep_only(const Exec& exec, Weight& weight, WeightForm form) {
  keep(exec, weight, form);
  drop_all_but(weight, form);
}

namespace {

void renew_forms(const Exec& exec, Weight& weight, const Tensor& master) {
  if (weight.has(WeightForm::codes)) make_codes(exec, weight, master);
  if (weight.has(WeightForm::panels)) make_panels(exec, weight, weight.panels.type);
  if (weight.has(WeightForm::heads)) make_heads(exec, weight);
  ++weight.version;
}

}  // namespace

void refresh(const Exec& exec, Weight& weight) {
  if (weight.has(WeightForm::plain)) renew_forms(exec, weight, {});  // else as it was stored or packed
}

void refresh(const Exec& exec, Weight& weight, const Tensor& master) {
  check(master.shape() == weight.shape, ErrorKind::internal, "a weight {} is refreshed from a master {}",
        shape_text(weight.shape), shape_text(master.shape()));
  const bool has_plain = weight.has(WeightForm::plain);
  check(weight.experts.empty(), ErrorKind::internal,
        "a weight {} whose experts lie apart, as a file is mapped, has no master", shape_text(weight.shape));
  if (!has_plain) weight.plain = Tensor::empty(exec, weight.dtype, weight.shape);
  if (weight.plain.raw() != master.raw()) copy(exec, weight.plain, master);
  renew_forms(exec, weight, master);
  if (!has_plain) weight.plain.reset();
}

}  // namespace hadal::ops
