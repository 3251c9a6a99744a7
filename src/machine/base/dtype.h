// The number formats that tensors, files and kernels speak of: sizes and names.
#pragma once
#include <cstdint>

#include "base/bf16.h"

namespace hadal {

struct f16;  // float_formats.h

enum class DType : uint8_t { f64, f32, bf16, f16, f8_e4m3, i64, i32, u8, f8_e8m0 };

int64_t dtype_bytes(DType dtype);
// safetensors spelling: "F64", "F32", "BF16", "F16", "F8_E4M3", "I64", "I32", "U8", "F8_E8M0"
const char* dtype_name(DType dtype);

// Floating formats of 16 bits: what activations are stored in, and never sums.
constexpr bool is_half(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<double>() {
  return DType::f64;
}
template <>
constexpr DType dtype_of<float>() {
  return DType::f32;
}
template <>
constexpr DType dtype_of<bf16>() {
  return DType::bf16;
}
template <>
constexpr DType dtype_of<f16>() {
  return DType::f16;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::i64;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::i32;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::u8;
}

}  // namespace hadal
