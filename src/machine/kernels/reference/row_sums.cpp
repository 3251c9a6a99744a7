#include "kernels/row_sums.h"

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {

void group_sums(const GroupSums& k) {
  visit_numbers(
      [&](auto x, auto y) {
        using X = element<decltype(x)>;
        using Y = element<decltype(y)>;
        using A = accumulator<X>;
        const A* weights = static_cast<const A*>(k.weights);
        each_row(k.lane, k.n, k.cols, [&](int64_t i) {
          for (int64_t c = 0; c < k.cols; ++c) {
            A sum = 0;
            for (int32_t j = k.begin[i]; j < k.begin[i + 1]; ++j) {
              const A value = get(k.x.row<X>(k.index + 2 * j)[c]);
              sum += weights ? weights[j] * value : value;
            }
            k.y.row<Y>(i)[c] = Y(sum);
          }
        });
      },
      k.x.of->dtype, k.y.dtype);
}

void group_totals(const GroupTotals& k) {
  visit_numbers(
      [&](auto x, auto y) {
        using X = element<decltype(x)>;
        using Y = element<decltype(y)>;
        using A = accumulator<X>;
        each_row(k.lane, k.n, k.cols, [&](int64_t i) {
          for (int64_t c = 0; c < k.cols; ++c) {
            A total = 0;
            for (int32_t j = k.begin[i]; j < k.begin[i + 1]; ++j) total += get(k.x.row<X>(k.index + 2 * j)[c]);
            Y& to = k.y.row<Y>(i)[c];
            to = Y(k.add ? get(to) + total : total);
          }
        });
      },
      k.x.of->dtype, k.y.dtype);
}

}  // namespace hadal::kernels::reference
