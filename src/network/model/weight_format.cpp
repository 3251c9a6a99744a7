#include "model/weight_format.h"

#include "base/error.h"

namespace hadal {
bool is_projection(const ParameterSpec& spec) {
  switch (spec.kind) {
    case ParameterKind::attention:
    case ParameterKind::dense_ffn:
    case ParameterKind::shared_expert:
    case ParameterKind::routed_expert: return true;
    default: return false;
  }
}

std::optional<PanelType> panel_type(const ParameterSpec& spec, WeightFormat format, AttentionForm form) {
  if (format == WeightFormat::values) return std::nullopt;
  const bool integers = format == WeightFormat::int8 || format == WeightFormat::int4;
  if (integers && spec.kind == ParameterKind::head) return PanelType::int8;
  if (!is_projection(spec)) return std::nullopt;
  if (form == AttentionForm::absorbed && spec.name.ends_with("attention.kv_b")) return std::nullopt;
  if (!integers) return PanelType::fp8;
  return format == WeightFormat::int8 ? PanelType::int8 : PanelType::int4;
}

}  // namespace hadal
