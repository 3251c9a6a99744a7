#include "ops/weight.h"

#include "base/error.h"
#include "kernels/gemm_panels.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"

namespace hadal::ops {
namespace {

// Anew, in memory that is there.
void make_codes(const Exec& exec, Weight& weight) {
  if (weight.experts.empty()) return hadal::quantise(exec, weight.codes, weight.plain, ScaleRule::exact);
  for (int64_t e = 0; e < weight.n_experts(); ++e)
    hadal::quantise(exec, weight.codes.slice(e), weight.matrix(e), ScaleRule::exact);
}

// Elements of the panels of one matrix.
int64_t panel_elements(const Exec& exec, const Weight& weight) {
  check(weight.dtype == DType::f32 || weight.dtype == DType::bf16, ErrorKind::unsupported,
        "a weight of {} has no panels; F32 and BF16 have", dtype_name(weight.dtype));
  return kernels::gemm_panel_elements(weight.dtype, weight.in(), weight.out(), kernels::gemm_panel_cols(exec.isa));
}

void make_panels(const Exec& exec, Weight& weight) {
  check(exec.device.kind == DeviceKind::cpu, ErrorKind::unsupported,
        "panels of weights are for the CPU's vector kernels; on {} keep the plain form", device_name(exec.device));
  const int64_t width = kernels::gemm_panel_cols(exec.isa), size = panel_elements(exec, weight);
  if (!weight.panels || weight.panels.panel_cols != width)
    weight.panels = {Tensor::empty(exec, weight.dtype, {weight.n_experts(), size}), width};
  for (int64_t e = 0; e < weight.n_experts(); ++e) {
    const Tensor w = weight.matrix(e);
    kernels::pack_panels({.b = w.raw(),
                          .b_row = 1,
                          .b_col = w.row_stride(),
                          .k = weight.in(),
                          .n = weight.out(),
                          .type = weight.dtype,
                          .panels = weight.panels.elements.row_range(e, 1).raw(),
                          .panel_cols = width,
                          .lane = exec.compute});
  }
}

void make(const Exec& exec, Weight& weight, WeightForm form, Tile code_tile) {
  switch (form) {
    case WeightForm::plain: return;
    case WeightForm::codes:
      weight.codes = Quantised::empty(exec, weight.shape, code_tile, weight.dtype);
      return make_codes(exec, weight);
    case WeightForm::panels: return make_panels(exec, weight);
    case WeightForm::int8_groups:
    case WeightForm::int4_groups:
      fail(ErrorKind::unsupported, "no kernel reads weights as {} yet; there are plain tensors, FP8 codes and panels",
           weight_form_name(form));
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

}  // namespace

int64_t panel_bytes(const Exec& exec, const Weight& weight) {
  return weight.n_experts() * panel_elements(exec, weight) * dtype_bytes(weight.dtype);
}

void keep(const Exec& exec, Weight& weight, WeightForm form, Tile code_tile) {
  const bool other_tiles = form == WeightForm::codes && !(weight.codes.tile == code_tile);
  if (weight.has(form) && !other_tiles) return;
  make_plain(exec, weight);
  make(exec, weight, form, code_tile);
}

void keep_only(const Exec& exec, Weight& weight, WeightForm form) {
  keep(exec, weight, form);
  if (form != WeightForm::plain) weight.plain.reset(), weight.experts.clear();
  if (form != WeightForm::codes) weight.codes = Quantised();
  if (form != WeightForm::panels) weight.panels = Panels();
}

void refresh(const Exec& exec, Weight& weight) {
  if (weight.has(WeightForm::codes)) make_codes(exec, weight);
  if (weight.has(WeightForm::panels)) make_panels(exec, weight);
  ++weight.version;
}

void refresh(const Exec& exec, Weight& weight, const Tensor& master) {
  check(master.shape() == weight.shape, ErrorKind::internal, "a weight {} is refreshed from a master {}",
        shape_text(weight.shape), shape_text(master.shape()));
  const bool has_plain = weight.has(WeightForm::plain);
  check(weight.experts.empty(), ErrorKind::internal,
        "a weight {} whose experts lie apart, as a file is mapped, has no master", shape_text(weight.shape));
  if (!has_plain) weight.plain = Tensor::empty(exec, weight.dtype, weight.shape);
  if (weight.plain.raw() != master.raw()) copy(exec, weight.plain, master);
  refresh(exec, weight);
  if (!has_plain) weight.plain.reset();
}

}  // namespace hadal::ops
