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

void prepare_codes(Parameter& parameter, DType source) {
  parameter.codes->source = source;
  const auto whole_tiles = [&](size_t dim, int64_t tile) {
    const int64_t begin = parameter.box.begin[dim], size = parameter.box.size[dim];
    check(begin % tile == 0 && (size % tile == 0 || begin + size == parameter.spec.shape[dim]), ErrorKind::invalid,
          "{} is cut at {} .. {} of {} over tensor ranks, and multiplied in FP8, where {} share a scale: choose fewer "
          "tensor ranks (parallel.tp), or train.precision = \"bf16\"",
          parameter.spec.name, begin, begin + size, parameter.spec.shape[dim], tile);
  };
  const size_t n = parameter.spec.shape.size();
  for (const Tile& tile : {parameter.codes->tile, parameter.codes->turned})
    whole_tiles(n - 2, tile.rows), whole_tiles(n - 1, tile.cols);
}

}  // namespace hadal
