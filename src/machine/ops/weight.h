// The forms of a weight: which are kept, and bringing them up to date when its values change (tensor/weight.h).
#pragma once
#include "tensor/weight.h"

namespace hadal::ops {

// Makes the form and keeps it: refresh() renews it from then on. Codes are of the plain value, by the released
// quantiser; panels of its dtype, for exec's instruction set. Throws unsupported where there are none: F64, a device.
void keep(const Exec& exec, Weight& weight, WeightForm form);
// Codes in this form; made of `from`, where that is given: the master, which the plain value rounds.
void keep_codes(const Exec& exec, Weight& weight, const CodeForm& form, const Tensor& from = {});
// Keeps nothing but this form (panels alone serve generation; codes alone are a stored FP8 model).
void keep_only(const Exec& exec, Weight& weight, WeightForm form);

// Keeps nothing but panels of this type: FP8 of the codes that are there in tiles of 128 x 128, else made by the
// released quantiser (tensor/quantised.h); integers rounded as kernels/gemm_panels.h says. Only forward products read
// such a weight. Throws unsupported as keep() does.
void pack(const Exec& exec, Weight& weight, PanelType type);

// Keeps nothing but the panels of these heads of a matrix [count * (nope + v), rank], in its dtype. Only head_matmul
// reads such a weight (HeadMatmul::panels). Throws unsupported as keep() does, internal where the shapes disagree.
void pack_heads(const Exec& exec, Weight& weight, const Heads& heads);
int64_t head_panel_bytes(const Exec& exec, const Weight& weight, const Heads& heads);  // kept or not

int64_t panel_bytes(const Exec& exec, const Weight& weight);  // of its panels in its dtype, kept or not
int64_t panel_bytes(const Exec& exec, const Shape& shape, PanelType type);

// After the values changed: the plain form takes the master's (unless it is the same memory), codes are made from the
// master, every other form from the plain one. Called once by what changed them: an optimizer's step, a loader.
void refresh(const Exec& exec, Weight& weight, const Tensor& master);
void refresh(const Exec& exec, Weight& weight);  // the plain form was written itself; without one nothing was

}  // namespace hadal::ops
