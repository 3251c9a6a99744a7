#include "model/weight_format.h"

#include <cstring>
#include <span>

#include "arch/tensor_cut.h"
#include "base/error.h"
#include "comm/group.h"

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

namespace {

// Maxima of each rank's parts of tiles to the ranks that hold more of them.
std::vector<CutMatrix::Maxima> exchanged(Group& group, const std::vector<CutMatrix::Maxima>& to) {
  std::vector<ConstBytes> bytes;
  for (const CutMatrix::Maxima& maxima : to) bytes.push_back(std::as_bytes(std::span(maxima)));
  std::vector<Message> received;
  group.start_all_to_all(bytes, received).wait();
  std::vector<CutMatrix::Maxima> from(received.size());
  for (size_t r = 0; r < received.size(); ++r) {
    from[r].resize(size_t(received[r].bytes) / sizeof(float));
    if (received[r].bytes > 0) std::memcpy(from[r].data(), received[r].data.get(), size_t(received[r].bytes));
  }
  return from;
}

// Null where it is whole.
std::shared_ptr<const CutMatrix> cut_over(Group* tensor, const ParameterSpec& spec, const ModelConfig& config) {
  const TensorCut how = tensor_cut(spec, config);
  if (!tensor || tensor->size() == 1 || !how || !is_projection(spec)) return nullptr;
  CutMatrix cut{how.dimension, {}, tensor->rank(), [tensor](const auto& to) { return exchanged(*tensor, to); }};
  for (int r = 0; r < tensor->size(); ++r) {
    const Box box = tensor_box(spec, config, r, tensor->size());
    cut.ends.push_back(box.begin[size_t(how.dimension)] + box.size[size_t(how.dimension)]);
  }
  return std::make_shared<const CutMatrix>(std::move(cut));
}

// What is kept of its input must not be cut inside of a pair of E5M6 codes.
void check_pairs(const Parameter& parameter, const Recipe& recipe) {
  const bool o = parameter.spec.name.ends_with("attention.o");
  const CutMatrix* cut = parameter.cut_along(1);
  if (!cut || (o ? recipe.attention_output : recipe.swiglu_inputs) != Kept::e5m6) return;
  for (const int64_t end : cut->ends)
    check(end % 2 == 0, ErrorKind::invalid,
          "{} is cut at column {} over {} tensor ranks, and what is kept of it has E5M6 codes, two columns to three "
          "bytes: choose an even {}, {} = \"e4m3\", or fewer tensor ranks (parallel.tp)",
          parameter.spec.name, end, cut->ends.size(),
          o ? "size of heads (model.v_head_dim, model.head_dim)" : "share of each (model.dense_ffn_size)",
          o ? "fp8.attention_output" : "fp8.swiglu_inputs");
}

}  // namespace

void prepare_codes(Parameter& parameter, DType source, const Recipe& recipe, const ModelConfig& config, Group* tensor) {
  parameter.cut = cut_over(tensor, parameter.spec, config);
  check_pairs(parameter, recipe);
  if (parameter.codes) parameter.codes->source = source, parameter.codes->cut = parameter.cut;
}

}  // namespace hadal
