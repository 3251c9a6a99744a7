#include "model/packing.h"

#include <algorithm>

#include "arch/arch.h"
#include "ops/weight.h"

namespace hadal {

int64_t Packing::bytes(const Exec& exec) const {
  const Weight& value = parameter->value;
  if (heads) return ops::head_panel_bytes(exec, value, *heads);
  return codes() ? ops::panel_bytes(exec, value.shape, PanelType::fp8) : ops::panel_bytes(exec, value);
}

void Packing::pack(const Exec& exec) const {
  Weight& value = parameter->value;
  if (heads) {
    ops::pack_heads(exec, value, *heads);
  } else if (codes()) {
    ops::pack(exec, value, PanelType::fp8);
  } else {
    ops::keep_only(exec, value, WeightForm::panels);
  }
  parameter->master.reset();  // often the same memory
}

std::vector<Packing> weights_to_pack(const Exec& exec, const Parameters& parameters, const ModelLayers& layers,
                                     const ModelConfig& config, const ModelOptions& options, int64_t n_mtp) {
  std::vector<Packing> result;
  const DType dtype = activation_dtype(options.precision);
  if (dtype != DType::f32 && dtype != DType::bf16) return result;  // of others no product reads panels
  for (Parameter* parameter : parameters) {
    const ParameterSpec& spec = parameter->spec;
    const Weight& value = parameter->value;
    if (!is_matrix_product(spec) || spec.layer >= config.n_layers + n_mtp) continue;
    if (!value.has(WeightForm::panels) && !value.has(WeightForm::heads)) result.push_back({parameter, {}});
  }
  const auto take_heads = [&](const Mla& mla) {
    for (Packing& one : result)
      if (one.parameter == mla.kv_b()) one.heads = mla.heads();
  };
  if (options.attention_form == AttentionForm::absorbed) {
    for (const BlockLayers& block : layers.blocks) take_heads(block.mla);
    for (const MtpLayers& module : layers.mtp) take_heads(module.block.mla);
  }
  std::erase_if(result, [&](const Packing& one) {
    const Parameter& parameter = *one.parameter;
    const bool same_bits = parameter.codes_alone && parameter.codes_may_be_packed && exec.isa != Isa::reference;
    return one.codes() && !same_bits;
  });
  return result;
}

}  // namespace hadal
