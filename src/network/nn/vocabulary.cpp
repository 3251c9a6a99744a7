#include "nn/vocabulary.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "comm/group.h"
#include "ops/softmax_part.h"

namespace hadal {
namespace {

// What a member knows of a row (ops/softmax_part.h).
template <class A>
struct Statistics {
  A top, sum, chosen, owned;
};

// of[m] are the members' statistics, in their order. Writes the losses, and the factors [rows, 2] of the own part's
// gradient: exp(own top - top) / sum * scale for all columns, and the gradient of the target's column.
template <class A>
void combine(const CrossEntropyPart& part, const std::vector<const Statistics<A>*>& of, size_t own, A* factors) {
  const int32_t* targets = part.targets.data<int32_t>();
  A* losses = part.losses.data<A>();
  const A scale = A(part.scale);
  for (int64_t r = 0; r < part.logits.rows(); ++r, factors += 2) {
    losses[r] = factors[0] = factors[1] = 0;
    if (targets[r] < 0) continue;
    A top = of[0][r].top, sum = 0, chosen = 0, owners = 0;
    for (const auto* member : of) top = std::max(top, member[r].top);
    for (const auto* member : of) {
      sum += member[r].sum * std::exp(member[r].top - top);
      chosen += member[r].chosen;  // zero but for its owner
      owners += member[r].owned;
    }
    check(owners == 1, ErrorKind::internal, "row {} of the vocabulary lies on {} of {} members, expected 1", targets[r],
          int(owners), of.size());
    losses[r] = top - chosen + std::log(sum);
    factors[0] = scale / sum * std::exp(of[own][r].top - top);
    factors[1] = (std::exp(chosen - top) / sum - 1) * scale;
  }
}

template <class A>
Tensor combined_factors(const Exec& exec, const CrossEntropyPart& part, const Tensor& all, Group& partners) {
  const Tensor factors = Tensor::empty(exec, all.dtype(), {part.logits.rows(), 2});
  std::vector<const Statistics<A>*> of;
  for (int m = 0; m < partners.size(); ++m)
    of.push_back(reinterpret_cast<const Statistics<A>*>(all.slice(m).template data<A>()));
  combine<A>(part, of, size_t(partners.rank()), factors.data<A>());
  return factors;
}

}  // namespace

bool is_slice_of_vocabulary(const Parameter& weight) { return weight.box.size[0] != weight.spec.shape[0]; }

Tensor own_rows_of(const Exec& exec, const Parameter& weight, const Tensor& ids) {
  const int64_t begin = weight.box.begin[0], size = weight.box.size[0], vocab = weight.spec.shape[0];
  const Tensor own = Tensor::empty(exec, DType::i32, {ids.count()});
  const int32_t* from = ids.data<int32_t>();
  for (int64_t i = 0; i < ids.count(); ++i) {
    check(from[i] < vocab, ErrorKind::invalid, "id {} is {}, expected less than {}", i, from[i], vocab);
    const int64_t row = from[i] - begin;
    own.data<int32_t>()[i] = from[i] >= 0 && row >= 0 && row < size ? int32_t(row) : -1;
  }
  return own;
}

void cross_entropy_of_parts(const Exec& exec, const CrossEntropyPart& part, Group& partners) {
  const int64_t rows = part.logits.rows();
  const Tensor all = Tensor::empty(exec, part.logits.dtype(), {partners.size(), rows, 4});
  ops::softmax_statistics(exec, part.logits, part.own_targets, all.slice(partners.rank()), part.gradient);
  std::vector<Share> shares;
  for (int m = 0; m < partners.size(); ++m)
    shares.push_back({{static_cast<std::byte*>(all.slice(m).raw()), size_t(all.slice(m).bytes())}});
  partners.start_all_gather(all.dtype(), std::move(shares)).wait();
  const Tensor factors = all.dtype() == DType::f64 ? combined_factors<double>(exec, part, all, partners)
                                                   : combined_factors<float>(exec, part, all, partners);
  if (part.gradient) ops::softmax_gradient(exec, part.logits, part.own_targets, factors);
}

}  // namespace hadal
