#include "model/options.h"

#include "base/error.h"

namespace hadal {

void check_precision(Precision precision, const Exec& exec) {
  check(precision != Precision::fp64 || exec.device.kind == DeviceKind::cpu, ErrorKind::invalid,
        "precision fp64 is that of the reference formulas and runs on the CPU alone; {} computes in fp32 and bf16",
        device_name(exec.device));
  check(precision != Precision::fp16 || exec.device.kind == DeviceKind::cpu, ErrorKind::unsupported,
        "precision fp16 has kernels for the CPU alone; {} computes in fp32 and bf16", device_name(exec.device));
}

void check_cache(const ModelOptions& options) {
  if (options.cache == CacheFormat::values) return;
  check(!options.training, ErrorKind::internal, "a model in training reads its keys as values, not in {}",
        enum_name(options.cache));
  check(options.precision == Precision::fp32 || options.precision == Precision::bf16, ErrorKind::unsupported,
        "a cache in {} is for precision fp32 or bf16, not {}", enum_name(options.cache), enum_name(options.precision));
  check(options.attention_form == AttentionForm::absorbed, ErrorKind::invalid,
        "a cache in {} keeps latents, which attention reads in the absorbed form; the {} form reads keys and values of "
        "every head: choose the absorbed form, or a cache of values",
        enum_name(options.cache), enum_name(options.attention_form));
}

DType activation_dtype(Precision precision) {
  switch (precision) {
    case Precision::fp64: return DType::f64;
    case Precision::fp32: return DType::f32;
    case Precision::bf16: return DType::bf16;
    case Precision::fp16: return DType::f16;
    case Precision::automatic: break;
  }
  fail(ErrorKind::invalid, "precision \"{}\" is not one of fp64, fp32, bf16, fp16: a model computes in one of them",
       enum_name(precision));
}

}  // namespace hadal
