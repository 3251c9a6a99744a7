#include "nn/init.h"

#include <algorithm>

#include "base/random.h"
#include "nn/norm.h"
#include "ops/pointwise.h"

namespace hadal {

std::unique_ptr<Parameter> make_parameter(const Exec& exec, const ParameterSpec& spec, DType compute, bool training) {
  auto parameter = std::make_unique<Parameter>();
  parameter->spec = spec;
  const DType wide = statistics_dtype(compute);
  const DType value = spec.high_precision ? wide : compute;
  parameter->master = Tensor::zeros(exec, wide, spec.shape);
  parameter->value = value == wide ? parameter->master : Tensor::zeros(exec, value, spec.shape);
  if (training && spec.trained) parameter->grad = Tensor::zeros(exec, wide, spec.shape);
  return parameter;
}

namespace {
template <class T>
void fill(const Exec& exec, const Parameter& parameter, uint64_t seed) {
  constexpr int64_t kChunk = 16384;
  const ParameterSpec& spec = parameter.spec;
  T* values = parameter.master.data<T>();
  const int64_t count = parameter.master.count();
  const uint64_t stream = stream_id(spec.name);
  const bool ones = spec.kind == ParameterKind::norm, zeros = spec.kind == ParameterKind::router_bias;
  exec.compute->parallel_for((count + kChunk - 1) / kChunk, [&](int64_t task, int) {
    const int64_t end = std::min(count, (task + 1) * kChunk);
    for (int64_t i = task * kChunk; i < end; ++i)
      values[i] = ones ? T(1) : zeros ? T(0) : T(spec.init_std * random_normal(seed, stream, uint64_t(i)));
  });
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
  const bool apart = parameter.master && parameter.value.raw() != parameter.master.raw();
  if (apart) ops::copy(exec, parameter.value, parameter.master);
}

}  // namespace hadal
