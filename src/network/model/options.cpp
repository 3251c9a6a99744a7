#include "model/options.h"

#include "base/error.h"

namespace hadal {

Precision parse_precision(const std::string& text) {
  if (text == "fp64") return Precision::fp64;
  if (text == "fp32") return Precision::fp32;
  if (text == "bf16") return Precision::bf16;
  fail(ErrorKind::invalid, "precision \"{}\" is not one of fp64, fp32, bf16", text);
}

AttentionForm parse_attention_form(const std::string& text) {
  if (text == "up_projected") return AttentionForm::up_projected;
  if (text == "absorbed") return AttentionForm::absorbed;
  fail(ErrorKind::invalid, "attention form \"{}\" is not one of up_projected, absorbed", text);
}

Recompute parse_recompute(const std::string& text) {
  if (text == "none") return Recompute::none;
  if (text == "norms") return Recompute::norms;
  if (text == "all") return Recompute::all;
  fail(ErrorKind::invalid, "recompute \"{}\" is not one of none, norms, all", text);
}

DType activation_dtype(Precision precision) {
  return precision == Precision::fp64 ? DType::f64 : precision == Precision::fp32 ? DType::f32 : DType::bf16;
}

}  // namespace hadal
