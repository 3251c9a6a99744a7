#include "model/row_split.h"

#include <algorithm>

#include "base/error.h"
#include "ops/pointwise.h"

namespace hadal {
namespace {

constexpr int64_t kMostParts = 4, kFewestRows = 128;

ops::RowRange joined(const ops::RowRange& a, const ops::RowRange& b) {  // b follows a
  if (a.count == 0) return b;
  return {a.begin, a.count + b.count};
}

int64_t size_of(const Group* group) { return group ? group->size() : 1; }
int64_t rank_in(const Group* group) { return group ? group->rank() : 0; }

// Adds row i to the runs of `list`.
void append(std::vector<ops::RowRange>& runs, int64_t row) {
  if (!runs.empty() && runs.back().begin + runs.back().count == row) {
    ++runs.back().count;
  } else {
    runs.push_back({row, 1});
  }
}

Share share_of(const Tensor& rows, const std::vector<ops::RowRange>& runs) {
  const int64_t each = rows.cols() * dtype_bytes(rows.dtype());
  auto* const begin = static_cast<std::byte*>(rows.raw());
  Share share;
  for (const ops::RowRange& run : runs)
    share.push_back(MutableBytes(begin + run.begin * each, size_t(run.count * each)));
  return share;
}

std::vector<Share> shares_of(const Tensor& rows, const std::vector<std::vector<ops::RowRange>>& runs) {
  check(rows.contiguous(), ErrorKind::internal, "rows that travel lie one behind the other; these are {} apart",
        rows.row_stride());
  std::vector<Share> shares;
  for (const auto& of_rank : runs) shares.push_back(share_of(rows, of_rank));
  return shares;
}

}  // namespace

int64_t RowSplit::n_tensor() const { return size_of(partners_.tensor); }
int64_t RowSplit::n_context() const { return size_of(partners_.context); }
int64_t RowSplit::this_tensor() const { return rank_in(partners_.tensor); }
int64_t RowSplit::this_context() const { return rank_in(partners_.context); }

std::vector<int32_t> row_owners(std::span<const ops::RowRange> sequences, int64_t n_rows, int64_t context,
                                int64_t tensor) {
  std::vector<int32_t> owners(static_cast<size_t>(n_rows));
  const int64_t runs = 2 * context;
  for (const ops::RowRange& sequence : sequences) {
    for (int64_t r = 0; r < runs; ++r) {
      const int64_t begin = sequence.count * r / runs, end = sequence.count * (r + 1) / runs;
      for (int64_t i = begin; i < end; ++i)
        owners[size_t(sequence.begin + i)] = int32_t(std::min(r, runs - 1 - r) * tensor);
    }
  }
  std::vector<int64_t> count(size_t(context), 0), seen(size_t(context), 0);
  for (const int32_t owner : owners) ++count[size_t(owner / tensor)];
  for (int32_t& owner : owners) {  // row i of n is the tensor rank's with n t / T <= i < n (t + 1) / T
    const size_t c = size_t(owner / tensor);
    owner += int32_t((tensor * (seen[c] + 1) - 1) / count[c]);
    ++seen[c];
  }
  return owners;
}

RowSplit::RowSplit(const MicroBatch& batch, const Partners& partners)
    : partners_(partners), owner_(row_owners(batch.sequences, batch.n_tokens(), n_context(), n_tensor())) {
  list_rows();
  make_segments(batch);
}

RowSplit RowSplit::next(const MicroBatch& batch, std::span<const int32_t> rows_in) const {
  RowSplit split;
  split.partners_ = partners_;
  for (const int32_t row : rows_in) split.owner_.push_back(owner_[size_t(row)]);
  split.list_rows();
  split.make_segments(batch);
  return split;
}

void RowSplit::list_rows() {
  const int64_t tensor = n_tensor();
  tensor_queries_.resize(size_t(tensor)), tensor_keys_.resize(size_t(tensor));
  context_keys_.resize(size_t(n_context()));
  for (int64_t i = 0; i < n_keys(); ++i) {
    const int64_t t = owner_[size_t(i)] % tensor, c = owner_[size_t(i)] / tensor;
    append(tensor_keys_[size_t(t)], i);
    if (t == this_tensor()) append(context_keys_[size_t(c)], i);
    if (c != this_context()) continue;
    append(tensor_queries_[size_t(t)], n_queries());
    queries_.push_back(int32_t(i));
    if (t == this_tensor()) own_.push_back(int32_t(i));
  }
}

// Each run of queries inside a document is a segment, whose keys are the document's rows up to the run's last.
void RowSplit::make_segments(const MicroBatch& batch) {
  int64_t next = 0;
  for (const ops::Segment& document : batch.segments) {
    const int64_t end = document.q_begin + document.n_q;
    for (size_t pass = 0; next < n_queries() && queries_[size_t(next)] < end; ++pass) {
      const int64_t first = next, row = queries_[size_t(next)];
      while (next < n_queries() && queries_[size_t(next)] < end && queries_[size_t(next)] - row == next - first) ++next;
      const int64_t n = next - first;
      segments_.push_back({first, n, document.k_begin, row + n - document.q_begin});
      if (passes_.size() <= pass) passes_.emplace_back();
      passes_[pass].push_back(segments_.back());
    }
  }
}

MicroBatch RowSplit::own_part(const MicroBatch& batch) const {
  MicroBatch part;
  for (const int32_t row : own_) {
    part.tokens.push_back(batch.tokens[size_t(row)]);
    part.positions.push_back(batch.positions[size_t(row)]);
    part.targets.push_back(batch.targets[size_t(row)]);
    if (!batch.weights.empty()) part.weights.push_back(batch.weights[size_t(row)]);
    if (!batch.domains.empty()) part.domains.push_back(batch.domains[size_t(row)]);
  }
  const auto rows_before = [&](int64_t row) { return std::lower_bound(own_.begin(), own_.end(), row) - own_.begin(); };
  for (const ops::RowRange& sequence : batch.sequences) {
    const int64_t begin = rows_before(sequence.begin);
    part.sequences.push_back({begin, rows_before(sequence.begin + sequence.count) - begin});
  }
  return part;
}

std::vector<int32_t> RowSplit::own_rows_in(const RowSplit& before, std::span<const int32_t> rows_in) const {
  std::vector<int32_t> result;
  for (const int32_t row : own_) {
    const auto at = std::lower_bound(before.own_.begin(), before.own_.end(), rows_in[size_t(row)]);
    result.push_back(int32_t(at - before.own_.begin()));
  }
  return result;
}

// Over context ranks first, each with the tensor rank of its own number, then over tensor ranks: no row comes twice.
Ticket RowSplit::start_gather_into(Extent extent, const Tensor& all) const {
  Group *tensor = partners_.tensor, *context = extent == Extent::keys ? partners_.context : nullptr;
  const auto over_tensor = [=, this] {
    return tensor ? tensor->start_all_gather(all.dtype(),
                                             shares_of(all, extent == Extent::keys ? tensor_keys_ : tensor_queries_))
                  : Ticket();
  };
  Ticket first = context ? context->start_all_gather(all.dtype(), shares_of(all, context_keys_)) : over_tensor();
  return Ticket([=]() mutable {
    first.wait();
    if (context) over_tensor().wait();
  });
}

RowsUnderWay RowSplit::start_gather(const Exec& exec, Extent extent, const Tensor& own) const {
  if (size_of(partners_.tensor) * (extent == Extent::keys ? n_context() : 1) == 1) return RowsUnderWay(own);
  const Tensor all = Tensor::empty(exec, own.dtype(), {extent == Extent::keys ? n_keys() : n_queries(), own.cols()});
  put_own(exec, extent, own, all);
  return RowsUnderWay([all, ticket = start_gather_into(extent, all)]() mutable {
    ticket.wait();
    return all;
  });
}

// The mirror: over tensor ranks first, whose sums are then those of their context ranks.
RowsUnderWay RowSplit::start_reduce(const Exec& exec, Extent extent, const Tensor& summands) const {
  Group *tensor = partners_.tensor, *context = extent == Extent::keys ? partners_.context : nullptr;
  if (size_of(tensor) * size_of(context) == 1) return RowsUnderWay(summands);
  const auto over_context = [=, this] {
    return context
               ? context->start_reduce_scatter(summands.dtype(), shares_of(summands, context_keys_), summands.owner())
               : Ticket();
  };
  const auto& runs = extent == Extent::keys ? tensor_keys_ : tensor_queries_;
  Ticket first = tensor ? tensor->start_reduce_scatter(summands.dtype(), shares_of(summands, runs), summands.owner())
                        : over_context();
  return RowsUnderWay([=, this, &exec]() mutable {
    first.wait();
    if (tensor) over_context().wait();
    return own_of(exec, extent, summands);
  });
}

const RowSplit::Runs& RowSplit::own_runs(Extent extent) const {
  return extent == Extent::keys ? context_keys_[size_t(this_context())] : tensor_queries_[size_t(this_tensor())];
}

void RowSplit::put_own(const Exec& exec, Extent extent, const Tensor& own, const Tensor& all) const {
  int64_t done = 0;
  for (const ops::RowRange& run : own_runs(extent)) {
    ops::copy(exec, all.row_range(run.begin, run.count), own.row_range(done, run.count));
    done += run.count;
  }
}

Tensor RowSplit::own_of(const Exec& exec, Extent extent, const Tensor& all) const {
  const Tensor own = Tensor::empty(exec, all.dtype(), {n_own(), all.cols()});
  int64_t done = 0;
  for (const ops::RowRange& run : own_runs(extent)) {
    ops::copy(exec, own.row_range(done, run.count), all.row_range(run.begin, run.count));
    done += run.count;
  }
  return own;
}

ops::RowRange RowSplit::rows_of_tensor_rank(int64_t rank) const {
  const Runs& runs = tensor_queries_[size_t(rank)];
  return runs.empty() ? ops::RowRange{} : runs.front();
}

ops::RowRange RowSplit::own_among_queries() const { return rows_of_tensor_rank(this_tensor()); }

// Few, and not of few rows: each is a product and a message of its own, which only pays where their way takes time.
int64_t RowSplit::n_parts() const {
  if (partners_.tensor->instant()) return 1;
  int64_t most = 0;
  for (int64_t t = 0; t < n_tensor(); ++t) most = std::max(most, rows_of_tensor_rank(t).count);
  return std::clamp<int64_t>(most / kFewestRows, 1, kMostParts);
}

// The other ranks, from the next one on round to the one before this. Whose rows are few and not parted are taken
// together with their neighbours' for one product.
std::vector<std::vector<int64_t>> RowSplit::neighbours() const {
  const bool in_parts = n_parts() > 1;
  std::vector<std::vector<int64_t>> result;
  int64_t rows = 0;
  for (int64_t i = 1; i < n_tensor(); ++i) {
    const int64_t t = (this_tensor() + i) % n_tensor();
    const bool enough = !partners_.tensor->instant() && (in_parts || rows >= 2 * kFewestRows);
    if (i == 1 || t == 0 || enough) result.emplace_back(), rows = 0;
    result.back().push_back(t);
    rows += rows_of_tensor_rank(t).count;
  }
  return result;
}

ops::RowRange RowSplit::part_of(int64_t rank, int64_t part) const {
  const ops::RowRange rows = rows_of_tensor_rank(rank);
  const int64_t begin = rows.count * part / n_parts(), end = rows.count * (part + 1) / n_parts();
  return {rows.begin + begin, end - begin};
}

void PartsUnderWay::await(const ops::RowRange& rows) {
  for (Part& part : parts_) {
    if (part.rows.begin >= rows.begin + rows.count || part.rows.begin + part.rows.count <= rows.begin) continue;
    for (Ticket& ticket : part.tickets) ticket.wait();
  }
}

void PartsUnderWay::each(const Use& use) {
  for (const Part& part : parts_) {
    await(part.rows);
    if (part.rows.count > 0) use(part.rows);
  }
}

Tensor PartsUnderWay::finish() {
  for (Part& part : parts_)
    for (Ticket& ticket : part.tickets) ticket.wait();
  parts_.clear(), pending_ = false;
  return std::exchange(all_, {});
}

// Rows of other tensor ranks are then one run for each of them, and keys are the queries.
bool RowSplit::over_tensor_alone(Extent extent) const {
  return tensor_cut() && (extent == Extent::queries || n_context() == 1);
}

PartsUnderWay RowSplit::start_parts(const Exec& exec, Extent extent, const Tensor& own) const {
  const int64_t n = extent == Extent::keys ? n_keys() : n_queries();
  if (size_of(partners_.tensor) * (extent == Extent::keys ? n_context() : 1) == 1) return PartsUnderWay(own);
  const Tensor all = Tensor::empty(exec, own.dtype(), {n, own.cols()});
  put_own(exec, extent, own, all);
  if (!over_tensor_alone(extent)) {
    std::vector<Ticket> ticket = {start_gather_into(extent, all)};
    return {all, {PartsUnderWay::Part{{0, n}, ticket}}};
  }
  std::vector<PartsUnderWay::Part> parts = {PartsUnderWay::Part{own_among_queries(), {}}};
  const auto others = neighbours();
  for (int64_t part = 0; part < n_parts(); ++part) {
    std::vector<Runs> runs;
    for (int64_t t = 0; t < n_tensor(); ++t) runs.push_back({part_of(t, part)});
    const auto tickets = partners_.tensor->start_all_gather_by_rank(all.dtype(), shares_of(all, runs), all.owner());
    for (const std::vector<int64_t>& ranks : others) {
      PartsUnderWay::Part together;
      for (const int64_t t : ranks) {
        together.tickets.push_back(tickets[size_t(t)]);
        together.rows = joined(together.rows, part_of(t, part));
      }
      parts.push_back(std::move(together));
    }
  }
  return {all, std::move(parts)};
}

RowsUnderWay RowSplit::start_reduce_in_parts(const Exec& exec, Extent extent, const Tensor& summands,
                                             const MakerOfPart& make) const {
  if (!over_tensor_alone(extent)) {
    if (summands.rows() > 0) make({0, summands.rows()});
    return start_reduce(exec, extent, summands);
  }
  const auto others = neighbours();
  const Tensor own = Tensor::empty(exec, summands.dtype(), {n_own(), summands.cols()});
  std::vector<LeavingShares> parts;
  for (int64_t part = 0; part < n_parts(); ++part) {
    std::vector<Runs> runs;
    for (int64_t t = 0; t < n_tensor(); ++t) runs.push_back({part_of(t, part)});
    ops::RowRange sums = part_of(this_tensor(), part);
    sums.begin -= own_among_queries().begin;
    parts.push_back(partners_.tensor->begin_reduce_scatter(summands.dtype(), shares_of(summands, runs),
                                                           summands.owner(), share_of(own, {sums})));
  }
  for (int64_t part = 0; part < n_parts(); ++part) {
    for (const std::vector<int64_t>& ranks : others) {
      ops::RowRange rows;
      for (const int64_t t : ranks) rows = joined(rows, part_of(t, part));
      if (rows.count > 0) make(rows);
      for (const int64_t t : ranks) parts[size_t(part)].leave(int(t));
    }
  }
  if (n_own() > 0) make(own_among_queries());
  return RowsUnderWay([own, summands, parts]() mutable {
    for (LeavingShares& part : parts) part.sums.wait();
    return own;
  });
}

void RowSplit::add_up(const Tensor& counts) const {
  const Share share = share_of(counts, {{0, counts.rows()}});
  for (Group* group : {partners_.tensor, partners_.context})
    if (group) group->start_all_reduce(counts.dtype(), share).wait();
}

}  // namespace hadal
