#include "kernels/rope.h"

#include <cmath>

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

template <class X>
void rotate_row(const Rope& k, int64_t r) {
  using A = accumulator<X>;
  const A* table = static_cast<const A*>(k.table) + k.positions[r] * k.table_stride;
  for (int64_t head = 0; head < k.n_heads; ++head) {
    X* x = k.x.row<X>(r) + head * k.head_stride;
    for (int64_t i = 0; i < k.d_rope; i += 2) {
      const A a = get(x[i]), b = get(x[i + 1]), cosine = table[i], sine = k.inverse ? -table[i + 1] : table[i + 1];
      x[i] = X(a * cosine - b * sine);
      x[i + 1] = X(a * sine + b * cosine);
    }
  }
}

}  // namespace

void rope(const Rope& k) {
  visit_numbers(
      [&](auto x) {
        each_row(k.lane, k.rows, k.n_heads * k.d_rope, [&](int64_t r) { rotate_row<element<decltype(x)>>(k, r); });
      },
      k.x.dtype);
}

void rope_table(const RopeTable& k) {
  visit_numbers(
      [&](auto type) {
        using T = element<decltype(type)>;
        each_row(k.lane, k.positions, 64 * k.n_frequencies, [&](int64_t position) {
          T* row = k.table.row<T>(position);
          for (int64_t i = 0; i < k.n_frequencies; ++i) {
            const double angle = double(position) * k.frequencies[i];
            row[2 * i] = T(std::cos(angle) * k.multiplier);
            row[2 * i + 1] = T(std::sin(angle) * k.multiplier);
          }
        });
      },
      k.table.dtype);
}

}  // namespace hadal::kernels::reference
