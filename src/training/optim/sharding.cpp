#include "optim/sharding.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "comm/byte_text.h"
#include "ops/weight.h"

namespace hadal {
namespace {

constexpr int64_t kLine = 128;  // columns; see kernels/elementwise.h, add_squares

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

std::pair<int64_t, int64_t> owned_elements(const Box& box, int index, int n_holders) {
  const int64_t cols = box.size.empty() ? 1 : box.size.back(), count = box.count();
  const int64_t lines = count / cols * ((cols + kLine - 1) / kLine);
  return {line_begin(lines * index / n_holders, cols), line_begin(lines * (index + 1) / n_holders, cols)};
}

Sharding::Sharding(const Exec& exec, const Placement& placement, const Parameters& parameters,
                   const std::shared_ptr<Transport>& transport, int64_t bucket_bytes)
    : placement_(placement), transport_(transport), world_(transport, "all ranks"), bucket_bytes_(bucket_bytes) {
  for (Parameter* parameter : parameters)
    if (parameter->spec.trained) trained_.push_back(parameter);
  check(!trained_.empty(), ErrorKind::internal, "rank {} holds nothing to train", world_.rank());
  for (const Parameter* parameter : parameters) circle_for(*parameter).held.push_back(parameter);
  for (auto it = trained_.rbegin(); it != trained_.rend(); ++it) enter(**it);
  std::reverse(forward_order_.begin(), forward_order_.end());
  for (Parameter* parameter : trained_) shrink_master(exec, *parameter);
}

Sharding::Circle& Sharding::circle_for(const Parameter& parameter) {
  const auto holding = placement_.holding_of(parameter.spec, transport_->rank());
  check(holding && holding->box == parameter.box, ErrorKind::internal,
        "rank {} holds another part of {} than the layout gives it", world_.rank(), parameter.spec.name);
  Circle& circle = circles_[holding->ranks];
  circle_of_[&parameter] = &circle;
  if (circle.group) return circle;
  std::string name = "holders";
  for (const int rank : holding->ranks) name += fmt::format(" {}", rank);
  circle.group = std::make_unique<Group>(transport_, name, holding->ranks);
  return circle;
}

// Into the last bucket of its holders' circle, or a new one.
void Sharding::enter(Parameter& parameter) {
  Circle& circle = *circle_of_.at(&parameter);
  if (circle.group->size() == 1) return;
  if (circle.buckets.empty() || circle.bytes >= bucket_bytes_) circle.buckets.emplace_back(), circle.bytes = 0;
  circle.buckets.back().parameters.push_back(&parameter);
  circle.bytes += parameter.box.count() * dtype_bytes(parameter.grad.dtype());
  const size_t b = circle.buckets.size() - 1;
  std::erase(forward_order_, std::pair(&circle, b));
  forward_order_.emplace_back(&circle, b);  // parameters come from the last to the first
  parameter.on_complete = [this, &circle, b] {
    --circle.buckets[b].incomplete;
    start_complete_ones(circle);
  };
  parameter.await_value = [&circle, b](const Exec& exec) { return await_values_of(exec, circle.buckets[b]); };
}

// Masters with memory of their own shrink to what this rank updates.
void Sharding::shrink_master(const Exec& exec, Parameter& parameter) const {
  const OwnedRange own = owned(parameter);
  if (own.is_whole() || parameter.master.raw() == parameter.value.plain.raw()) return;
  parameter.master = own.count() > 0 ? own.of(parameter.master).clone(exec) : Tensor();
}

Sharding::~Sharding() {
  for (Parameter* parameter : trained_) parameter->on_complete = nullptr, parameter->await_value = nullptr;
}

OwnedRange Sharding::owned(Parameter& parameter) const {
  const Group& group = group_of(parameter);
  const auto [begin, end] = owned_elements(parameter.box, group.rank(), group.size());
  return {&parameter, begin, end};
}

std::vector<OwnedRange> Sharding::owned() const {
  std::vector<OwnedRange> ranges;
  for (Parameter* parameter : trained_) {
    const OwnedRange range = owned(*parameter);
    if (range.count() > 0) ranges.push_back(range);
  }
  return ranges;
}

std::vector<Share> Sharding::shares_of(const Circle& circle, const Bucket& bucket,
                                       const std::function<const Tensor&(Parameter&)>& tensor) const {
  const int n = circle.group->size();
  std::vector<Share> shares(static_cast<size_t>(n));
  for (Parameter* parameter : bucket.parameters) {
    for (int r = 0; r < n; ++r) {
      const auto [begin, end] = owned_elements(parameter->box, r, n);
      shares[size_t(r)].push_back(bytes_of(tensor(*parameter), begin, end - begin));
    }
  }
  return shares;
}

void Sharding::watch(TravelLog* log) {
  for (auto& [holders, circle] : circles_) circle.group->watch(log);
}

void Sharding::begin_step() {
  for (auto& [holders, circle] : circles_) {
    circle.next = 0;
    for (Bucket& bucket : circle.buckets) bucket.incomplete = int64_t(bucket.parameters.size());
  }
}

void Sharding::start_complete_ones(Circle& circle) {
  while (circle.next < circle.buckets.size() && circle.buckets[circle.next].incomplete == 0) start(circle);
}

void Sharding::start(Circle& circle) {
  Bucket& bucket = circle.buckets[circle.next++];
  bucket.sums = circle.group->start_reduce_scatter(
      wide(), shares_of(circle, bucket, [](Parameter& parameter) -> const Tensor& { return parameter.grad; }));
}

void Sharding::finish_gradients() {
  for (auto& [holders, circle] : circles_)
    while (circle.next < circle.buckets.size()) start(circle);
  for (auto& [holders, circle] : circles_)
    for (Bucket& bucket : circle.buckets) bucket.sums.wait();
}

void Sharding::send_values() {
  const auto value = [](Parameter& parameter) -> const Tensor& { return parameter.value.plain; };
  for (const auto& [circle, b] : forward_order_) {
    Bucket& bucket = circle->buckets[b];
    bucket.values = circle->group->start_all_gather(DType::u8, shares_of(*circle, bucket, value));
  }
}

bool Sharding::await_values_of(const Exec& exec, Bucket& bucket) {
  if (!bucket.values.pending()) return false;
  bucket.values.wait();
  for (Parameter* parameter : bucket.parameters)
    if (!parameter->shares_codes()) ops::refresh(exec, parameter->value);
  return true;
}

void Sharding::await_values(const Exec& exec) {
  for (const auto& [circle, b] : forward_order_) await_values_of(exec, circle->buckets[b]);
}

void Sharding::check_replicas(const Exec& exec) {
  await_values(exec);
  for (auto& [holders, circle] : circles_) {
    if (circle.group->size() == 1) continue;
    ByteWriter writer;
    for (const Parameter* parameter : circle.held) {
      const Tensor& value = parameter->value.plain;
      writer(hash64({static_cast<const char*>(value.raw()), size_t(value.bytes())}));
    }
    const auto all = circle.group->exchange(writer.text);
    for (size_t r = 1; r < all.size(); ++r) {
      ByteReader first(all[0]), other(all[r]);
      for (const Parameter* parameter : circle.held) {
        uint64_t a = 0, b = 0;
        first(a), other(b);
        check(a == b, ErrorKind::failed,
              "ranks {} and {} hold different values of {}, which must be the same to the bit: their machines, or what "
              "lies between them, cannot be trusted; the last checkpoint was made before",
              holders[0], holders[r], parameter->spec.name);
      }
    }
  }
}

}  // namespace hadal
