#include "model/options.h"

#include "base/error.h"

namespace hadal {

void check_precision(Precision precision, const Exec& exec) {
  check(precision != Precision::fp64 || exec.device.kind == DeviceKind::cpu, ErrorKind::invalid,
        "precision fp64 is that of the reference formulas and runs on the CPU alone; {} computes in fp32 and bf16",
        device_name(exec.device));
}

DType activation_dtype(Precision precision) {
  switch (precision) {
    case Precision::fp64: return DType::f64;
    case Precision::fp32: return DType::f32;
    case Precision::bf16: return DType::bf16;
    case Precision::automatic: break;
  }
  fail(ErrorKind::invalid, "precision \"{}\" is not one of fp64, fp32, bf16: a model computes in one of them",
       enum_name(precision));
}

}  // namespace hadal
