// One table for every format.
#include "base/dtype.h"

#include "base/error.h"

namespace hadal {
namespace {

struct DTypeInfo {
  int64_t bytes;
  const char* name;
};

DTypeInfo info(DType dtype) {
  switch (dtype) {
    case DType::f64: return {8, "F64"};
    case DType::f32: return {4, "F32"};
    case DType::bf16: return {2, "BF16"};
    case DType::f16: return {2, "F16"};
    case DType::f8_e4m3: return {1, "F8_E4M3"};
    case DType::i64: return {8, "I64"};
    case DType::i32: return {4, "I32"};
    case DType::u8: return {1, "U8"};
    case DType::f8_e8m0: return {1, "F8_E8M0"};
  }
  fail(ErrorKind::internal, "unknown dtype {}", int(dtype));
}

}  // namespace

int64_t dtype_bytes(DType dtype) { return info(dtype).bytes; }
const char* dtype_name(DType dtype) { return info(dtype).name; }

}  // namespace hadal
