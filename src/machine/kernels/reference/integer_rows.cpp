#include "kernels/integer_rows.h"

#include <algorithm>
#include <cmath>

namespace hadal::kernels::reference {
namespace {

template <class T>
IntegerGroup rounded(const T* x, int64_t count) {
  IntegerGroup group{};
  float largest = 0, probe = 0;  // a NaN or an infinity times zero is a NaN
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::fabs(float(x[i])));
    probe += float(x[i]) * 0.0f;
  }
  group.scale = std::isnan(probe) ? std::nanf("") : largest / 127.0f;
  if (!(group.scale > 0)) return group;
  for (int64_t i = 0; i < count; ++i) {
    group.q[i] = int8_t(std::nearbyintf(float(x[i]) / group.scale));
    group.sum += group.q[i];
  }
  return group;
}

template <class T>
void round_rows(const IntegerRows& k) {
  const int64_t groups = integer_groups(k.cols);
  parallel_blocks(k.lane, k.rows, rows_per_task(k.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = g * kIntegerGroup;
        k.to[r * groups + g] = rounded(k.x.row<T>(r) + first, std::min(kIntegerGroup, k.cols - first));
      }
    }
  });
}

}  // namespace

void integer_rows(const IntegerRows& k) {
  visit_with<bf16>([&](auto type) { round_rows<element<decltype(type)>>(k); }, k.x.dtype);
}

}  // namespace hadal::kernels::reference
