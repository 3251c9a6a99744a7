#include "layout/mesh.h"

#include "base/error.h"
#include "layout/fitting.h"

namespace hadal {

Mesh::Mesh(const ParallelConfig& parallel) : p_(parallel) {
  for (const auto& [axis, size] : {std::pair{"dp", p_.dp}, {"cp", p_.cp}, {"tp", p_.tp}, {"pp", p_.pp}, {"ep", p_.ep}})
    check(size >= 1 && size <= kMostRanks, ErrorKind::invalid, "layout: {} = {} must be between 1 and {}", axis, size,
          kMostRanks);
  check(stage_ranks() <= kMostRanks && n_ranks() <= kMostRanks, ErrorKind::invalid,
        "layout: dp * cp * tp * pp = {} x {} x {} x {} makes more than {} ranks", p_.dp, p_.cp, p_.tp, p_.pp,
        kMostRanks);
}

Seat Mesh::seat(int64_t rank) const {
  Seat seat;
  seat.tensor = rank % p_.tp, rank /= p_.tp;
  seat.context = rank % p_.cp, rank /= p_.cp;
  seat.data = rank % p_.dp, rank /= p_.dp;
  seat.pipeline = rank;
  return seat;
}

int64_t Mesh::rank(const Seat& seat) const {
  return ((seat.pipeline * p_.dp + seat.data) * p_.cp + seat.context) * p_.tp + seat.tensor;
}

namespace {

std::vector<int> every(int64_t first, int64_t step, int64_t count) {
  std::vector<int> ranks;
  for (int64_t i = 0; i < count; ++i) ranks.push_back(int(first + i * step));
  return ranks;
}

}  // namespace

std::vector<int> Mesh::pipeline_group(int64_t rank) const { return every(rank % stage_ranks(), stage_ranks(), p_.pp); }

std::vector<int> Mesh::data_group(int64_t rank) const {
  const Seat own = seat(rank);
  return every(this->rank({own.pipeline, 0, own.context, own.tensor}), p_.cp * p_.tp, p_.dp);
}

std::vector<int> Mesh::context_group(int64_t rank) const {
  const Seat own = seat(rank);
  return every(this->rank({own.pipeline, own.data, 0, own.tensor}), p_.tp, p_.cp);
}

std::vector<int> Mesh::tensor_group(int64_t rank) const { return every(rank - rank % p_.tp, 1, p_.tp); }

std::vector<int> Mesh::expert_group(int64_t rank) const { return every(rank - expert_seat(rank), 1, p_.ep); }

std::vector<int> Mesh::experts_across(int64_t rank) const {
  if (p_.node_ranks == 0 || p_.ep <= p_.node_ranks) return {};
  return every(rank - expert_seat(rank) + expert_seat(rank) % p_.node_ranks, p_.node_ranks, p_.ep / p_.node_ranks);
}

std::vector<int> Mesh::experts_within(int64_t rank) const {
  if (p_.node_ranks == 0 || p_.ep <= p_.node_ranks) return {};
  return every(rank - expert_seat(rank) % p_.node_ranks, 1, p_.node_ranks);
}

}  // namespace hadal
