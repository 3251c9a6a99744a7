#include "comm/rank_sum.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/float_formats.h"

namespace hadal {
namespace {

// In blocks, so that one source after the other streams through the cache.
constexpr size_t kBlock = 1024;

template <class Stored, class Sum>
void sum(MutableBytes to, const std::vector<const std::byte*>& sources) {
  const size_t count = to.size() / sizeof(Stored);
  Sum total[kBlock];
  const auto load = [](const std::byte* from) {  // messages need no alignment
    Stored value;
    std::memcpy(&value, from, sizeof value);
    return Sum(value);
  };
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t n = std::min(kBlock, count - begin), at = begin * sizeof(Stored);
    for (size_t i = 0; i < n; ++i) total[i] = load(sources[0] + at + i * sizeof(Stored));
    for (size_t s = 1; s < sources.size(); ++s)
      for (size_t i = 0; i < n; ++i) total[i] += load(sources[s] + at + i * sizeof(Stored));
    for (size_t i = 0; i < n; ++i) {
      const Stored value(total[i]);
      std::memcpy(to.data() + at + i * sizeof(Stored), &value, sizeof value);
    }
  }
}

}  // namespace

void sum_in_rank_order(DType dtype, MutableBytes to, const std::vector<const std::byte*>& sources) {
  switch (dtype) {
    case DType::f64: return sum<double, double>(to, sources);
    case DType::f32: return sum<float, float>(to, sources);
    case DType::bf16: return sum<bf16, float>(to, sources);
    case DType::f16: return sum<f16, float>(to, sources);
    case DType::i64: return sum<int64_t, int64_t>(to, sources);
    default:
      fail(ErrorKind::internal, "sums over ranks are made of F64, F32, BF16, F16 or I64, not {}", dtype_name(dtype));
  }
}

}  // namespace hadal
