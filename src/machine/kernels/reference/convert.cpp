// Every pair of formats, element by element; equal formats are copied.
#include "kernels/convert.h"

#include <cstring>
#include <type_traits>

#include "base/error.h"
#include "base/float_formats.h"
#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

template <class F>
void with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64: return f(Tag<double>{});
    case DType::f32: return f(Tag<float>{});
    case DType::bf16: return f(Tag<bf16>{});
    case DType::f16: return f(Tag<f16>{});
    case DType::f8_e4m3: return f(Tag<e4m3>{});
    case DType::i64: return f(Tag<int64_t>{});
    case DType::i32: return f(Tag<int32_t>{});
    case DType::u8: return f(Tag<uint8_t>{});
    case DType::f8_e8m0: return f(Tag<e8m0>{});
  }
  fail(ErrorKind::internal, "unknown dtype {}", int(dtype));
}

template <class T>
constexpr bool kSmallFloat =
    std::is_same_v<T, bf16> || std::is_same_v<T, f16> || std::is_same_v<T, e4m3> || std::is_same_v<T, e8m0>;

template <class To, class From>
To converted(From value) {
  if constexpr (kSmallFloat<From>) {
    return converted<To>(float(value));
  } else if constexpr (kSmallFloat<To>) {
    return To(float(value));
  } else {
    return To(value);
  }
}

template <class To, class From>
void convert_row(To* to, const From* from, int64_t n) {
  if constexpr (std::is_same_v<From, To>) {
    std::memmove(to, from, size_t(n) * sizeof(To));
  } else {
    for (int64_t c = 0; c < n; ++c) to[c] = converted<To>(from[c]);
  }
}

}  // namespace

void convert(const Convert& k) {
  with_type(k.x.dtype, [&](auto from) {
    with_type(k.y.dtype, [&](auto to) {
      using From = element<decltype(from)>;
      using To = element<decltype(to)>;
      each_row(k.lane, k.rows, k.cols, [&](int64_t r) { convert_row(k.y.row<To>(r), k.x.row<From>(r), k.cols); });
    });
  });
}

void zero_rows(const ZeroRows& k) {
  const int64_t size = dtype_bytes(k.y.dtype);
  each_row(k.lane, k.rows, k.cols, [&](int64_t r) {
    std::memset(static_cast<char*>(k.y.data) + r * k.y.stride * size, 0, size_t(k.cols * size));
  });
}

}  // namespace hadal::kernels::reference
