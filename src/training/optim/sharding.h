// ZeRO-1: ranks that hold the same parameters share the work of updating them. Each owns some elements of every
// parameter: it alone keeps their moments, and their master where that has memory of its own. Gradients are added up at
// their owner as soon as they are complete, in buckets, while the backward goes on; updated values go back to all.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "comm/group.h"
#include "nn/parameter.h"

namespace hadal {

// The part of a parameter that an optimizer updates and keeps moments for: elements [begin, end) of its box, row by
// row. A cut inside a row is a multiple of 128 columns from its begin, so that the norm does not feel it.
struct OwnedRange {
  Parameter* parameter = nullptr;
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
  bool is_whole() const { return begin == 0 && end == parameter->box.count(); }
  Tensor of(const Tensor& whole) const;  // [count], a view
  Tensor master() const;                 // [count] of the parameter's master, whole or this range already
};
// What `rank` of `n_ranks` owns: lines of 128 columns, dealt out as evenly as they go. May be empty.
OwnedRange owned_range(Parameter& parameter, int rank, int n_ranks);

class Sharding {
 public:
  // Of the trained ones among `parameters`. One rank owns all, and nothing travels.
  Sharding(const Exec& exec, const Parameters& parameters, Group& group);
  ~Sharding();
  Sharding(const Sharding&) = delete;
  Sharding& operator=(const Sharding&) = delete;

  Group& group() const { return group_; }
  const std::vector<Parameter*>& trained() const { return trained_; }
  std::vector<OwnedRange> owned() const;  // by this rank, in the parameters' order, none of them empty

  // A step begins: buckets start as their gradients are complete, in the same order on every rank.
  void begin_step();
  // After the last backward: owned ranges of gradients hold the sums over all ranks.
  void finish_gradients();
  // After the update of the owned ranges: every rank has all values.
  void gather_values();
  // The whole of a tensor of which every rank holds the owned range [count] (none where it owns nothing), of the given
  // dtype: on the group's first rank; elsewhere empty. All ranks call it.
  Tensor gather_whole(const Exec& exec, Parameter& parameter, const Tensor& own, DType dtype) const;

 private:
  struct Bucket {
    std::vector<Parameter*> parameters;
    int64_t incomplete = 0;
    Ticket sums;
  };
  std::vector<Share> shares_of(const Bucket& bucket, const std::function<const Tensor&(Parameter&)>& tensor) const;
  void start_complete_ones();
  void start(Bucket& bucket);

  Group& group_;
  std::vector<Parameter*> trained_;
  std::vector<Bucket> buckets_;  // in the order of the backward: last parameters first
  size_t next_ = 0;              // the first that has not started
};

}  // namespace hadal
