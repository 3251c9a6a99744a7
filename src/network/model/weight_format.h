// Which matrices of a model take part in a format of weights (config/enums.h), and as what.
#pragma once
#include <optional>

#include "arch/parameter_list.h"
#include "config/enums.h"
#include "nn/parameter.h"
#include "tensor/weight.h"

namespace hadal {

// Of attention and FFNs, experts among them: what the released models store as FP8.
bool is_projection(const ParameterSpec& spec);

// The panels that the format makes of this parameter; none: it keeps its values. FP8 are the projections of attention
// and FFNs, as in the released models; int8 and int4 are these too, and the head, which is never below int8. The
// router, norms and the embedding keep their values, and so does kv_b where its heads are read one by one (absorbed),
// which packing makes panels of heads.
// `stored` is decided by the files: of those that would be FP8 it says fp8.
std::optional<PanelType> panel_type(const ParameterSpec& spec, WeightFormat format, AttentionForm form);

// A parameter whose products read codes: these stand for values of this type. Throws invalid where tensor ranks cut
// a tile, which has one scale: whoever holds some of it would find another one for its part.
void prepare_codes(Parameter& parameter, DType source);

}  // namespace hadal
