#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/reference/scalar.h"

namespace hadal::kernels::reference {
namespace {

// loss = log sum_c exp(x_c) - x_target, with the row's largest taken out so that nothing overflows (§2.4). With
// gradient the row becomes (softmax(x) - onehot) * scale in its own memory: logits are the largest tensor of a step.
template <class X>
void loss_row(const CrossEntropy& k, int64_t r) {
  using A = accumulator<X>;
  X* x = k.logits.row<X>(r);
  A& loss = static_cast<A*>(k.loss)[r];
  const int64_t target = k.targets[r];
  if (target < 0) {
    loss = 0;
    if (k.gradient) std::fill(x, x + k.vocab, X(A(0)));
    return;
  }
  A top = get(x[0]);
  for (int64_t c = 1; c < k.vocab; ++c) top = std::max(top, get(x[c]));
  A sum = 0;
  for (int64_t c = 0; c < k.vocab; ++c) sum += std::exp(get(x[c]) - top);
  const A log_sum = top + std::log(sum);
  loss = log_sum - get(x[target]);
  if (!k.gradient) return;
  for (int64_t c = 0; c < k.vocab; ++c)
    x[c] = X((std::exp(get(x[c]) - log_sum) - (c == target ? A(1) : A(0))) * A(k.scale));
}

}  // namespace

void cross_entropy(const CrossEntropy& k) {
  visit_numbers(
      [&](auto x) { each_row(k.lane, k.rows, k.vocab, [&](int64_t r) { loss_row<element<decltype(x)>>(k, r); }); },
      k.logits.dtype);
}

}  // namespace hadal::kernels::reference
