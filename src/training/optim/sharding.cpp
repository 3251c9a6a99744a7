#include "optim/sharding.h"

#include <algorithm>

#include "base/error.h"

namespace hadal {
namespace {

constexpr int64_t kLine = 128;                      // columns; see kernels/elementwise.h, add_squares
constexpr int64_t kBucketBytes = int64_t(4) << 20;  // of gradients, at least

MutableBytes bytes_of(const Tensor& tensor, int64_t begin, int64_t count) {
  const int64_t each = dtype_bytes(tensor.dtype());
  return {static_cast<std::byte*>(tensor.raw()) + begin * each, size_t(count * each)};
}

// The first element of line `line`, where lines begin with the rows.
int64_t line_begin(int64_t line, int64_t cols) {
  const int64_t per_row = (cols + kLine - 1) / kLine;
  return line / per_row * cols + line % per_row * kLine;
}

}  // namespace

Tensor OwnedRange::of(const Tensor& whole) const {
  if (begin == 0 && end == whole.count()) return whole;
  const Tensor flat = whole.view({whole.count(), 1}).row_range(begin, count());
  return flat.view({count()});
}

Tensor OwnedRange::master() const {
  const Tensor& master = parameter->master;
  return master.count() == parameter->box.count() ? of(master) : master;
}

OwnedRange owned_range(Parameter& parameter, int rank, int n_ranks) {
  const Shape& size = parameter.box.size;
  const int64_t cols = size.empty() ? 1 : size.back(), count = parameter.box.count();
  const int64_t lines = count / cols * ((cols + kLine - 1) / kLine);
  const auto begin = [&](int64_t r) { return line_begin(lines * r / n_ranks, cols); };
  return {&parameter, begin(rank), begin(rank + 1)};
}

Sharding::Sharding(const Exec& exec, const Parameters& parameters, Group& group) : group_(group) {
  for (Parameter* parameter : parameters)
    if (parameter->spec.trained) trained_.push_back(parameter);
  if (group_.size() == 1) return;
  int64_t bytes = kBucketBytes;
  for (auto it = trained_.rbegin(); it != trained_.rend(); ++it) {
    Parameter& parameter = **it;
    if (bytes >= kBucketBytes) buckets_.emplace_back(), bytes = 0;
    buckets_.back().parameters.push_back(&parameter);
    bytes += parameter.box.count() * dtype_bytes(parameter.grad.dtype());
    parameter.replicated = parameter.replicated.with(Axis::data);
    parameter.summed = parameter.summed.with(Axis::data);
  }
  for (size_t b = 0; b < buckets_.size(); ++b) {
    for (Parameter* parameter : buckets_[b].parameters) {
      parameter->on_complete = [this, b] {
        --buckets_[b].incomplete;
        start_complete_ones();
      };
      // Masters with memory of their own shrink to what this rank updates.
      if (parameter->master.raw() == parameter->value.plain.raw()) continue;
      const OwnedRange own = owned_range(*parameter, group_.rank(), group_.size());
      parameter->master = own.count() > 0 ? own.of(parameter->master).clone(exec) : Tensor();
    }
  }
}

Sharding::~Sharding() {
  for (Parameter* parameter : trained_) parameter->on_complete = nullptr;
}

std::vector<OwnedRange> Sharding::owned() const {
  std::vector<OwnedRange> ranges;
  for (Parameter* parameter : trained_) {
    const OwnedRange range = owned_range(*parameter, group_.rank(), group_.size());
    if (range.count() > 0) ranges.push_back(range);
  }
  return ranges;
}

std::vector<Share> Sharding::shares_of(const Bucket& bucket,
                                     const std::function<const Tensor&(Parameter&)>& tensor) const {
  std::vector<Share> shares(static_cast<size_t>(group_.size()));
  for (Parameter* parameter : bucket.parameters) {
    for (int r = 0; r < group_.size(); ++r) {
      const OwnedRange range = owned_range(*parameter, r, group_.size());
      shares[size_t(r)].push_back(bytes_of(tensor(*parameter), range.begin, range.count()));
    }
  }
  return shares;
}

void Sharding::begin_step() {
  next_ = 0;
  for (Bucket& bucket : buckets_) bucket.incomplete = int64_t(bucket.parameters.size());
}

void Sharding::start_complete_ones() {
  while (next_ < buckets_.size() && buckets_[next_].incomplete == 0) start(buckets_[next_++]);
}

void Sharding::start(Bucket& bucket) {
  bucket.sums = group_.start_reduce_scatter(
      bucket.parameters.front()->grad.dtype(),
      shares_of(bucket, [](Parameter& parameter) -> const Tensor& { return parameter.grad; }));
}

void Sharding::finish_gradients() {
  for (; next_ < buckets_.size(); ++next_) {
    for (Parameter* parameter : buckets_[next_].parameters)
      if (parameter->expected() == 0) parameter->grad.zero();  // no micro-batch came to this rank
    start(buckets_[next_]);
  }
  for (Bucket& bucket : buckets_) bucket.sums.wait();
}

void Sharding::gather_values() {
  for (Bucket& bucket : buckets_) {
    group_.start_all_gather(DType::u8, shares_of(bucket, [](Parameter& p) -> const Tensor& { return p.value.plain; }))
        .wait();
  }
}

Tensor Sharding::gather_whole(const Exec& exec, Parameter& parameter, const Tensor& own, DType dtype) const {
  const OwnedRange range = owned_range(parameter, group_.rank(), group_.size());
  Tensor whole;
  std::vector<Share> shares(static_cast<size_t>(group_.size()));
  if (group_.leads()) {
    whole = Tensor::empty(exec, dtype, parameter.box.size);
    for (int r = 0; r < group_.size(); ++r) {
      const OwnedRange of_rank = owned_range(parameter, r, group_.size());
      shares[size_t(r)].push_back(bytes_of(whole, of_rank.begin, of_rank.count()));
    }
    if (range.count() > 0) range.of(whole).copy_from(exec, own);
  } else if (range.count() > 0) {
    shares[size_t(group_.rank())].push_back(bytes_of(own, 0, range.count()));
  }
  group_.start_gather(0, dtype, std::move(shares)).wait();
  return whole;
}

}  // namespace hadal
