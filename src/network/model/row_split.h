// RowSplit: whose rows of a micro-batch are whose, where ranks compute it together, and how rows come together. Made
// once per flight and stream, from the micro-batch that all partners were given.
//
// Context ranks cut each sequence into 2 C runs; rank c has runs c and 2 C - 1 - c, since a late query reads more keys
// than an early one. Tensor ranks cut the rows of their context rank into T runs, of any length. A rank's rows are in
// ascending order; each row has one owner:
//   own      rows of this rank: residual stream, norms, down-projections, routers, experts
//   queries  rows of its tensor group, one after the other: what heads and FFNs that are cut over tensor ranks compute
//   keys     all rows of the micro-batch
// Rows are gathered in the model's type. Sums over ranks travel in FP32 (FP64): in BF16 each part would be rounded
// before it is added, and a layout be further from the exact result than one rank.
//
// An MTP row belongs to the owner of the row whose state it continues, so the join of depths moves nothing.
#pragma once
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "comm/group.h"
#include "nn/micro_batch.h"
#include "nn/partners.h"

namespace hadal {

// Rows that were sent and are awaited; wait(), once, returns them.
class RowsUnderWay {
 public:
  RowsUnderWay() = default;
  explicit RowsUnderWay(Tensor here) : finish_([here] { return here; }) {}
  explicit RowsUnderWay(std::function<Tensor()> finish) : finish_(std::move(finish)) {}
  explicit operator bool() const { return bool(finish_); }
  Tensor wait() { return std::exchange(finish_, nullptr)(); }

 private:
  std::function<Tensor()> finish_;
};

// Rows that come in parts, so that some are multiplied while others travel.
class PartsUnderWay {
 public:
  struct Part {
    ops::RowRange rows;
    std::vector<Ticket> tickets;
  };
  using Use = std::function<void(const ops::RowRange& part)>;
  PartsUnderWay() = default;
  explicit PartsUnderWay(const Tensor& here) : all_(here), parts_{Part{{0, here.rows()}, {}}}, pending_(true) {}
  PartsUnderWay(const Tensor& all, std::vector<Part> parts) : all_(all), parts_(std::move(parts)), pending_(true) {}
  explicit operator bool() const { return pending_; }

  const Tensor& all() const { return all_; }
  void await(const ops::RowRange& rows);  // these alone
  void each(const Use& use);              // of each part once it is here, own rows first
  Tensor finish();                        // once: all rows, which are here then

 private:
  Tensor all_;
  std::vector<Part> parts_;
  bool pending_ = false;
};

enum class Extent : uint8_t { queries, keys };

// Of each of the rows: context rank * tensor + tensor rank.
std::vector<int32_t> row_owners(std::span<const ops::RowRange> sequences, int64_t n_rows, int64_t context,
                                int64_t tensor);

class RowSplit {
 public:
  RowSplit() = default;  // of one rank: nothing is cut
  RowSplit(const MicroBatch& batch, const Partners& partners);
  // Of the next MTP depth: its rows, and where each was among the rows of this one.
  RowSplit next(const MicroBatch& batch, std::span<const int32_t> rows_in) const;

  bool cut() const { return n_tensor() * n_context() > 1; }
  bool tensor_cut() const { return n_tensor() > 1; }
  int64_t n_keys() const { return int64_t(owner_.size()); }
  int64_t n_queries() const { return int64_t(queries_.size()); }
  int64_t n_own() const { return int64_t(own_.size()); }
  const std::vector<int32_t>& own() const { return own_; }  // as rows of the micro-batch
  const std::vector<int32_t>& queries() const { return queries_; }
  ops::RowRange own_among_queries() const;
  // Attention's bounds: queries among queries(), keys among all rows. No two segments of a pass have keys in common: a
  // backward, which writes gradients of keys, goes over one pass after the other.
  const std::vector<ops::Segment>& segments() const { return segments_; }
  const std::vector<std::vector<ops::Segment>>& passes() const { return passes_; }
  // The own rows alone, without segments; sequences stay, also those of which no row is here.
  MicroBatch own_part(const MicroBatch& batch) const;
  // Own rows of a stream as its own rows of the depth before, for each of `rows_in` that is here.
  std::vector<int32_t> own_rows_in(const RowSplit& before, std::span<const int32_t> rows_in) const;

  // Every partner calls these in the same order; tensors are contiguous, of one type.
  // own [n_own, w] → the rows of all [n_queries or n_keys, w]
  RowsUnderWay start_gather(const Exec& exec, Extent extent, const Tensor& own) const;
  // Summands of all rows [n_queries or n_keys, w], which are used up → the sums of the own ones [n_own, w], over tensor
  // ranks in their order and then over context ranks.
  RowsUnderWay start_reduce(const Exec& exec, Extent extent, const Tensor& summands) const;
  // The same in parts, where tensor ranks alone have to say something: products of one part run while others travel.
  PartsUnderWay start_parts(const Exec& exec, Extent extent, const Tensor& own) const;
  // make(part) is called for each part, in start_parts' order but own rows last, and writes it into `summands`.
  using MakerOfPart = std::function<void(const ops::RowRange& part)>;
  RowsUnderWay start_reduce_in_parts(const Exec& exec, Extent extent, const Tensor& summands,
                                     const MakerOfPart& make) const;
  // `counts` i64 become their sums over all partners.
  void add_up(const Tensor& counts) const;

 private:
  using Runs = std::vector<ops::RowRange>;  // of rows that follow one another
  void list_rows();
  void make_segments(const MicroBatch& batch);
  int64_t n_tensor() const;
  int64_t n_context() const;
  int64_t this_tensor() const;
  int64_t this_context() const;
  const Runs& own_runs(Extent extent) const;
  Tensor own_of(const Exec& exec, Extent extent, const Tensor& all) const;
  void put_own(const Exec& exec, Extent extent, const Tensor& own, const Tensor& all) const;
  bool over_tensor_alone(Extent extent) const;
  Ticket start_gather_into(Extent extent, const Tensor& all) const;  // in which own rows stand
  ops::RowRange rows_of_tensor_rank(int64_t rank) const;             // among queries
  int64_t n_parts() const;                                           // that each tensor rank's rows travel in
  ops::RowRange part_of(int64_t rank, int64_t part) const;
  std::vector<std::vector<int64_t>> neighbours() const;

  Partners partners_;
  std::vector<int32_t> owner_;  // of each row: context rank * T + tensor rank
  std::vector<int32_t> own_, queries_;
  // Runs of each tensor rank's rows among queries() and, of all context ranks, among all rows; runs of each context
  // rank's rows among all rows, of the tensor rank of this number.
  std::vector<Runs> tensor_queries_, tensor_keys_, context_keys_;
  std::vector<ops::Segment> segments_;
  std::vector<std::vector<ops::Segment>> passes_;
};

inline Tensor in_dtype(const Exec& exec, const Tensor& rows, DType dtype) {
  return rows.dtype() == dtype ? rows : rows.to(exec, dtype);
}

// Of one rank (null: its rows are all there are) too.
inline RowsUnderWay start_gather(const Exec& exec, const RowSplit* split, Extent extent, const Tensor& own) {
  return split ? split->start_gather(exec, extent, own) : RowsUnderWay(own);
}
inline PartsUnderWay start_parts(const Exec& exec, const RowSplit* split, Extent extent, const Tensor& own) {
  return split ? split->start_parts(exec, extent, own) : PartsUnderWay(own);
}
inline RowsUnderWay start_reduce(const Exec& exec, const RowSplit* split, Extent extent, const Tensor& summands) {
  return split ? split->start_reduce(exec, extent, summands) : RowsUnderWay(summands);
}
inline RowsUnderWay start_reduce_in_parts(const Exec& exec, const RowSplit* split, Extent extent,
                                          const Tensor& summands, const RowSplit::MakerOfPart& make) {
  if (split) return split->start_reduce_in_parts(exec, extent, summands, make);
  make({0, summands.rows()});
  return RowsUnderWay(summands);
}

}  // namespace hadal
