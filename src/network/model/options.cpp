#include "model/options.h"

#include "base/error.h"

namespace hadal {

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
