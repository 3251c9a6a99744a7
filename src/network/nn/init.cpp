#include "nn/init.h"

#include <algorithm>

#include "base/random.h"
#include "nn/norm.h"
#include "ops/weight.h"

namespace hadal {

std::unique_ptr<Parameter> bare_parameter(const ParameterSpec& spec, const std::optional<Box>& box) {
  auto parameter = std::make_unique<Parameter>();
  parameter->spec = spec;
  parameter->box = box ? *box : Box::whole(spec.shape);
  return parameter;
}

DType value_dtype(const Parameter& parameter, DType compute) {
  return parameter.spec.high_precision || parameter.codes_alone ? statistics_dtype(compute) : compute;
}

void give_memory(const Exec& exec, Parameter& parameter, DType compute, bool training) {
  const DType wide = statistics_dtype(compute), value = value_dtype(parameter, compute);
  parameter.master = Tensor::zeros(exec, wide, parameter.box.size);
  parameter.value = Weight(value == wide ? parameter.master : Tensor::zeros(exec, value, parameter.box.size));
  if (training && parameter.spec.trained) parameter.grad = Tensor::zeros(exec, wide, parameter.box.size);
}

std::unique_ptr<Parameter> make_parameter(const Exec& exec, const ParameterSpec& spec, DType compute, bool training,
                                          const std::optional<Box>& box) {
  auto parameter = bare_parameter(spec, box);
  give_memory(exec, *parameter, compute, training);
  return parameter;
}

ParameterBytes parameter_bytes(const Parameter& parameter, DType compute, bool training, int64_t n_holders) {
  const DType wide = statistics_dtype(compute);
  const int64_t count = parameter.box.count(), of_wide = count * dtype_bytes(wide);
  const bool apart = value_dtype(parameter, compute) != wide;  // the master from the value
  ParameterBytes bytes{apart ? count * dtype_bytes(compute) + of_wide / n_holders : of_wide, 0};
  if (parameter.codes) bytes.values += parameter.codes->bytes(parameter.box.size);
  if (training && parameter.spec.trained) bytes.gradient = of_wide;
  return bytes;
}

namespace {

// The number in the global shape of the first element of this rank's row `row`, a row of the box seen as [rows, cols].
int64_t global_begin(const Parameter& parameter, int64_t row) {
  const Box& box = parameter.box;
  int64_t result = 0, stride = 1;
  for (size_t i = box.size.size(); i-- > 0;) {
    int64_t index = box.begin[i];
    if (i + 1 < box.size.size()) index += row % box.size[i], row /= box.size[i];
    result += index * stride;
    stride *= parameter.spec.shape[i];
  }
  return result;
}

template <class T>
void fill(const Exec& exec, const Parameter& parameter, uint64_t seed) {
  constexpr int64_t kChunk = 16384;
  const ParameterSpec& spec = parameter.spec;
  const Tensor& master = parameter.master;
  const Tensor made = master.on_host() ? master : Tensor::empty(exec.on_host(), master.dtype(), master.shape());
  T* values = made.data<T>();
  const int64_t cols = master.cols(), rows = master.rows(), rows_each = std::max<int64_t>(1, kChunk / cols);
  const uint64_t stream = stream_id(spec.name);
  const bool ones = spec.kind == ParameterKind::norm, zeros = spec.kind == ParameterKind::router_bias;
  exec.compute->parallel_for((rows + rows_each - 1) / rows_each, [&](int64_t task, int) {
    const int64_t end = std::min(rows, (task + 1) * rows_each);
    for (int64_t row = task * rows_each; row < end; ++row) {
      const int64_t first = global_begin(parameter, row);
      for (int64_t c = 0; c < cols; ++c)
        values[row * cols + c] = ones    ? T(1)
                                 : zeros ? T(0)
                                         : T(spec.init_std * random_normal(seed, stream, uint64_t(first + c)));
    }
  });
  if (!master.on_host()) master.copy_from(made);  // logarithms and cosines of two libraries differ
}

}  // namespace

void initialize_parameter(const Exec& exec, Parameter& parameter, uint64_t seed) {
  if (parameter.master.dtype() == DType::f64) {
    fill<double>(exec, parameter, seed);
  } else {
    fill<float>(exec, parameter, seed);
  }
  refresh_value(exec, parameter);
}

void refresh_value(const Exec& exec, Parameter& parameter) {
  const bool whole = parameter.master && parameter.master.count() == parameter.box.count();
  whole ? ops::refresh(exec, parameter.value, parameter.master) : ops::refresh(exec, parameter.value);
  if (parameter.codes) ops::keep_codes(exec, parameter.value, *parameter.codes, whole ? parameter.master : Tensor());
}

void keep_what_is_read(const Exec& exec, Parameter& parameter) {
  if (!parameter.codes_alone) return;
  CodeForm form = *parameter.codes;
  form.turned = form.tile;  // no gradient is made of it
  ops::keep_codes(exec, parameter.value, form);
  parameter.value = Weight(std::move(parameter.value.codes));
}

}  // namespace hadal
