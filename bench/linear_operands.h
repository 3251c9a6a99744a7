// Drawn operands of a linear, of one weight or of a stack of experts' weights, and the whole linear as training runs
// it: what the benches of FP8 share.
#pragma once
#include <cmath>
#include <functional>
#include <memory>
#include <string>

#include "nn/init.h"
#include "nn/linear.h"

namespace hadal::bench {

// Uniform in (-1, 1); binades: of these, each times a power of two down to 2^-binades.
inline Tensor random_tensor(const Exec& exec, DType dtype, Shape shape, int binades = 0) {
  const Tensor values = Tensor::empty(exec, DType::f32, shape);
  uint32_t state = 12345;
  for (float& value : std::span(values.data<float>(), size_t(values.count()))) {
    state = state * 1664525u + 1013904223u;
    value = std::ldexp(float(int32_t(state) >> 8), -23 - int(state >> 3 & 0xff) * binades / 255);
  }
  return values.to(exec, dtype);
}

inline std::unique_ptr<Parameter> random_weight(const Exec& exec, const GemmRecipe& recipe, Shape shape) {
  ParameterSpec spec;
  spec.name = "weight";
  spec.shape = shape;
  auto parameter = bare_parameter(spec);
  reads(recipe, *parameter);
  give_memory(exec, *parameter, DType::bf16, true);
  parameter->master.copy_from(exec, random_tensor(exec, DType::f32, shape));
  refresh_value(exec, *parameter);
  return parameter;
}

struct Sizes {
  std::string name;
  int64_t experts, rows, in, out;  // experts 0: a single weight
  double product_floor = 0, linear_floor = 0;
  int binades = 0;  // over which x and dy spread: many codes are subnormal
  double flops() const { return 6.0 * double(rows) * double(in) * double(out); }
};

inline Tensor even_offsets(const Exec& exec, const Sizes& s) {
  std::vector<int32_t> offsets;
  for (int64_t e = 0; e <= s.experts; ++e) offsets.push_back(int32_t(s.rows * e / std::max<int64_t>(1, s.experts)));
  return Tensor::from<int32_t>(exec, offsets, {s.experts + 1});
}

struct Operands {
  Tensor x, y, dx, dw, offsets;
  std::unique_ptr<Parameter> weight;
};

inline Operands operands(const Exec& exec, const Sizes& s, const GemmRecipe& recipe) {
  const Shape shape = s.experts ? Shape{s.experts, s.out, s.in} : Shape{s.out, s.in};
  return {random_tensor(exec, DType::bf16, {s.rows, s.in}, s.binades),
          random_tensor(exec, DType::bf16, {s.rows, s.out}, s.binades),
          Tensor::empty(exec, DType::bf16, {s.rows, s.in}),
          Tensor::zeros(exec, DType::f32, shape),
          even_offsets(exec, s),
          random_weight(exec, recipe, shape)};
}

// Forward, backward of the input and of the weight, with all quantising.
inline std::function<void()> whole_linear(const Exec& exec, const std::shared_ptr<Operands>& o,
                                          const GemmRecipe& recipe, bool grouped) {
  return [=, &exec] {
    if (grouped) {
      const GroupedLinear linear{o->weight.get(), recipe};
      linear.forward(exec, o->y, o->x, o->offsets);
      linear.backward_input(exec, o->dx, o->y, o->offsets);
      linear.weight_product(exec, o->dw, o->y, o->x, o->offsets, ops::Write::overwrite);
    } else {
      const Linear linear{o->weight.get(), recipe};
      linear.forward(exec, o->y, o->x);
      linear.backward_input(exec, o->dx, o->y);
      linear.weight_product(exec, o->dw, o->y, o->x, ops::Write::overwrite);
    }
  };
}

}  // namespace hadal::bench
