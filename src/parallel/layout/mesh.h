// Mesh: which rank sits where. A rank has a seat along each axis: pipeline, data, context, tensor. Ranks are numbered
// with the tensor axis fastest, then context, data and pipeline, so that those who talk most are neighbours:
//
//   rank = ((pipeline * dp + data) * cp + context) * tp + tensor
//
// The dp * cp * tp ranks of one pipeline seat are a stage's ranks. Experts are spread over blocks of ep of them, one
// after the other; the blocks hold replicas of each other.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"

namespace hadal {

struct Seat {
  int64_t pipeline = 0, data = 0, context = 0, tensor = 0;
  bool operator==(const Seat&) const = default;
};

class Mesh {
 public:
  // Throws invalid, naming the axis, for sizes below 1 and for more ranks than can be counted. Whether experts can be
  // spread so, Placement checks, which knows the model.
  explicit Mesh(const ParallelConfig& parallel);

  int64_t n_ranks() const { return p_.pp * stage_ranks(); }
  int64_t stage_ranks() const { return p_.dp * p_.cp * p_.tp; }
  Seat seat(int64_t rank) const;
  int64_t rank(const Seat& seat) const;
  int64_t expert_seat(int64_t rank) const { return rank % stage_ranks() % p_.ep; }
  const ParallelConfig& sizes() const { return p_; }

  // The ranks that differ from this one along one axis alone, itself among them, ascending.
  std::vector<int> pipeline_group(int64_t rank) const;
  std::vector<int> data_group(int64_t rank) const;
  std::vector<int> context_group(int64_t rank) const;
  std::vector<int> tensor_group(int64_t rank) const;
  std::vector<int> expert_group(int64_t rank) const;
  // The two hops of a token to its experts, where these lie on several nodes of parallel.node_ranks each: the ranks of
  // this one's place on every node, and those of its own node. Empty on one node.
  std::vector<int> experts_across(int64_t rank) const;
  std::vector<int> experts_within(int64_t rank) const;

 private:
  ParallelConfig p_;
};

}  // namespace hadal
