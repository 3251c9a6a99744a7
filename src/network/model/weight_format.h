// Which matrices of a model take part in a format of weights (config/enums.h), and as what.
#pragma once
#include <optional>

#include "arch/parameter_list.h"
#include "config/enums.h"
#include "nn/parameter.h"
#include "nn/recipe.h"
#include "tensor/weight.h"

namespace hadal {

class Group;

// Of attention and FFNs, experts among them: what the released models store as FP8.
bool is_projection(const ParameterSpec& spec);

// The panels that the format makes of this parameter; none: it keeps its values. FP8 are the projections of attention
// and FFNs, as in the released models; int8 and int4 are these too, and the head, which is never below int8. The
// router, norms and the embedding keep their values, and so does kv_b where its heads are read one by one (absorbed),
// which packing makes panels of heads.
// `stored` is decided by the files: of those that would be FP8 it says fp8.
std::optional<PanelType> panel_type(const ParameterSpec& spec, WeightFormat format, AttentionForm form);

// A parameter whose products may read codes: these stand for values of this type, and where `tensor` ranks hold parts
// of the matrix, they make the codes of tiles that lie on several of them together. The group must outlive it; null:
// one rank. Throws invalid where what is kept of its input is cut inside of a pair of E5M6 codes.
void prepare_codes(Parameter& parameter, DType source, const Recipe& recipe, const ModelConfig& config, Group* tensor);

}  // namespace hadal
