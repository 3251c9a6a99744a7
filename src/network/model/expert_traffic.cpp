#include "model/expert_traffic.h"

#include <numeric>

#include "base/error.h"
#include "ops/pointwise.h"
#include "ops/quantise.h"
#include "ops/row_sums.h"

namespace hadal {
namespace {

Tensor list(const Exec& exec, const std::vector<int32_t>& values) {
  return Tensor::from(exec, values, {int64_t(values.size())});
}

Tensor numbers_at(const Exec& exec, const Tensor& numbers, const std::vector<int32_t>& index) {
  const int64_t n = int64_t(index.size());
  const Tensor picked = Tensor::empty(exec, numbers.dtype(), {n});
  ops::gather_rows(exec, picked.view({n, 1}), numbers.view({numbers.count(), 1}), list(exec, index));
  return picked;
}

// Of every expert its member's number divided by, or modulo, the size of a node.
std::vector<int32_t> nodes_of(const ExpertPlaces& places, int node_size) {
  std::vector<int32_t> result = places.member;
  for (int32_t& member : result) member /= node_size;
  return result;
}
std::vector<int32_t> places_in_node(const ExpertPlaces& places, int node_size) {
  std::vector<int32_t> result = places.member;
  for (int32_t& member : result) member %= node_size;
  return result;
}

bool groups_lie_whole(const std::vector<int32_t>& member_of, int64_t experts_per_group) {
  for (size_t e = 1; e < member_of.size(); ++e)
    if (int64_t(e) % experts_per_group != 0 && member_of[e] != member_of[e - 1]) return false;
  return true;
}

}  // namespace

ExpertPlaces expert_places(int64_t n_experts, int n_members) {
  check(n_members > 0 && n_experts % n_members == 0, ErrorKind::invalid,
        "{} experts cannot be spread over {} ranks: the number of ranks must divide that of experts", n_experts,
        n_members);
  ExpertPlaces places;
  const int64_t each = n_experts / n_members;
  for (int64_t e = 0; e < n_experts; ++e)
    places.member.push_back(int32_t(e / each)), places.slot.push_back(int32_t(e % each));
  return places;
}

bool experts_are_spread(const Partners& partners) { return partners.experts && partners.experts->size() > 1; }

bool experts_take_two_hops(const Partners& partners) { return partners.experts_across && partners.experts_within; }

ExpertTraffic::ExpertTraffic(const Partners& partners, const ops::RouteRule& rule, const Box& held)
    : places_(expert_places(rule.n_experts, partners.experts->size())),
      n_slots_(rule.n_experts / partners.experts->size()),
      experts_per_group_(rule.n_experts / rule.n_groups) {
  Group& all = *partners.experts;
  for (int64_t e = 0; e < rule.n_experts; ++e) {
    const bool here = e >= held.begin[0] && e < held.begin[0] + held.size[0];
    check(here == (places_.member[size_t(e)] == all.rank()) && (!here || e - held.begin[0] == places_.slot[size_t(e)]),
          ErrorKind::internal, "rank {} of {} holds experts {} .. {}, but expert {} lies on rank {}", all.rank(),
          all.name(), held.begin[0], held.begin[0] + held.size[0], e, places_.member[size_t(e)]);
  }
  Group *across = partners.experts_across, *within = partners.experts_within;
  if (!across && !within) (groups_lie_whole(places_.member, experts_per_group_) ? across : within) = partners.experts;
  n_across_ = across ? size_t(across->size()) : 1, n_within_ = within ? size_t(within->size()) : 1;
  const int node = across ? across->rank() : 0, index = within ? within->rank() : 0;
  check(all.size() == int(n_across_ * n_within_) && all.rank() == node * int(n_within_) + index, ErrorKind::internal,
        "rank {} of {} is on node {} of {}, {} of {} there, which do not fit", all.rank(), all.size(), node, n_across_,
        index, n_within_);
  if (across) {
    const std::vector<int32_t> nodes = nodes_of(places_, int(n_within_));
    check(groups_lie_whole(nodes, experts_per_group_), ErrorKind::invalid,
          "{} routing groups do not lie whole on {} nodes: the number of nodes must divide that of groups",
          rule.n_groups, n_across_);
    across_ = std::make_unique<ExpertHop>(*across, nodes, experts_per_group_);
  }
  if (within) within_ = std::make_unique<ExpertHop>(*within, places_in_node(places_, int(n_within_)), 1);
}

void ExpertTraffic::dispatch_start(const Exec& exec, const Activation& x, const ops::Routes& routes) {
  own_.assign(1, {});
  TokenBlock& block = own_[0];
  block.rows = x;
  block.begin = {0};
  if (routes.experts) {
    const int64_t n = routes.experts.rows(), k = routes.experts.cols();
    for (int64_t t = 1; t <= n; ++t) block.begin.push_back(int32_t(t * k));
    block.experts.assign(routes.experts.data<int32_t>(), routes.experts.data<int32_t>() + n * k);
    block.weights = routes.weights.view({n * k});
  } else {
    block.weights = Tensor::empty(exec, x.dtype() == DType::f64 ? DType::f64 : DType::f32, {0});
  }
  (across_ ? across_ : within_)->send(exec, own_);
  block.rows.reset();
}

// Rows sorted by expert, tokens ascending within one, as the plan of one rank sorts them (ops::make_plan).
ExpertRows ExpertTraffic::sorted(const Exec& exec, const TokenBlock& block, Arrived& arrived) const {
  std::vector<int32_t> offsets(size_t(n_slots_) + 1, 0);
  for (const int32_t expert : block.experts) ++offsets[size_t(places_.slot[size_t(expert)]) + 1];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  std::vector<int32_t> next = offsets, token(block.experts.size()), pair(block.experts.size());
  arrived.position.resize(block.experts.size());
  for (int64_t t = 0; t < block.n_tokens(); ++t) {
    for (int32_t p = block.begin[size_t(t)]; p < block.begin[size_t(t) + 1]; ++p) {
      const int32_t row = next[size_t(places_.slot[size_t(block.experts[size_t(p)])])]++;
      token[size_t(row)] = int32_t(t), pair[size_t(row)] = p;
      arrived.position[size_t(p)] = row;
    }
  }
  arrived.token = list(exec, token);
  return {ops::gather_rows(exec, block.rows, arrived.token), numbers_at(exec, block.weights, pair),
          list(exec, offsets)};
}

// Blocks came by member within the node, and for each of these by node.
std::vector<size_t> ExpertTraffic::blocks_by_source() const {
  std::vector<size_t> blocks;
  for (size_t node = 0; node < n_across_; ++node)
    for (size_t member = 0; member < n_within_; ++member) blocks.push_back(member * n_across_ + node);
  return blocks;
}

void ExpertTraffic::dispatch_pass_on(const Exec& exec) {
  crossed_ = across_->receive(exec);
  within_->send(exec, crossed_);
  for (TokenBlock& block : crossed_) block.rows.reset();
}

std::vector<ExpertRows> ExpertTraffic::dispatch_wait(const Exec& exec) {
  std::vector<TokenBlock> blocks = (within_ ? within_ : across_)->receive(exec);
  arrived_.assign(blocks.size(), {});
  std::vector<ExpertRows> by_source;
  for (const size_t b : blocks_by_source()) {
    by_source.push_back(sorted(exec, blocks[b], arrived_[b]));
    blocks[b].rows.reset();  // its message may go
  }
  if (!within_) crossed_ = std::move(blocks);
  return by_source;
}

// What comes back from the experts; where nothing travels inside a node, the sums of groups may cross at once.
void ExpertTraffic::start_back(const Exec& exec, const std::vector<RowsBack>& back) {
  within_ ? within_->send_back(exec, back) : across_->send_back(exec, sums_of_groups(exec, back));
}

void ExpertTraffic::pass_back_on(const Exec& exec) {
  across_->send_back(exec, sums_of_groups(exec, within_->receive_back(exec)));
}

std::vector<RowsBack> ExpertTraffic::sums_of_groups(const Exec& exec, const std::vector<RowsBack>& of_pairs) {
  std::vector<RowsBack> result;
  for (size_t b = 0; b < of_pairs.size(); ++b) {
    const RowsBack& one = of_pairs[b];
    const std::vector<int32_t> bounds = expert_runs(entry()[b], experts_per_group_);
    const int64_t n = int64_t(bounds.size()) - 1;
    RowsBack sums{Tensor::empty(exec, wire_, {n, one.rows.cols()}), std::vector<int32_t>(size_t(n)), one.numbers};
    std::iota(sums.index.begin(), sums.index.end(), 0);
    ops::group_sums(exec, sums.rows, one.rows, {list(exec, bounds), list(exec, one.index)},
                    weighted_ ? entry()[b].weights : Tensor());
    result.push_back(std::move(sums));
  }
  return result;
}

RowsBack ExpertTraffic::wait_back(const Exec& exec, const Tensor& y, ops::Write write) {
  RowsBack back =
      std::move(across_ ? across_->receive_back(exec)[0] : sums_of_groups(exec, within_->receive_back(exec))[0]);
  const TokenBlock& own = own_[0];
  if (own.n_tokens() == 0) return back;
  const std::vector<int32_t> bounds = expert_runs(own, experts_per_group_);
  std::vector<int32_t> begin = {0};  // of each token's groups
  for (int64_t t = 1, run = 0; t <= own.n_tokens(); ++t) {
    while (bounds[size_t(run)] < own.begin[size_t(t)]) ++run;
    begin.push_back(int32_t(run));
  }
  ops::group_totals(exec, y, back.rows, {list(exec, begin), list(exec, back.index)}, write);
  return back;
}

void ExpertTraffic::combine_start(const Exec& exec, const std::vector<Tensor>& outputs, DType wire) {
  wire_ = wire, weighted_ = true;
  std::vector<RowsBack> back(outputs.size());
  const std::vector<size_t> blocks = blocks_by_source();
  for (size_t s = 0; s < outputs.size(); ++s) back[blocks[s]] = {outputs[s], arrived_[blocks[s]].position, {}};
  start_back(exec, std::move(back));
}

void ExpertTraffic::combine_wait(const Exec& exec, const Tensor& y) { wait_back(exec, y, ops::Write::add); }

void ExpertTraffic::combine_backward_start(const Exec& exec, const Activation& dy) {
  (across_ ? across_ : within_)->send_rows(exec, {dy});
}

void ExpertTraffic::combine_backward_pass_on(const Exec& exec) { within_->send_rows(exec, across_->receive_rows()); }

std::vector<Activation> ExpertTraffic::combine_backward_wait(const Exec& exec) {
  std::vector<Activation> blocks = (within_ ? within_ : across_)->receive_rows(), by_source;
  for (const size_t b : blocks_by_source()) {
    by_source.push_back(ops::gather_rows(exec, blocks[b], arrived_[b].token));
    blocks[b].reset();  // its message may go
  }
  return by_source;
}

void ExpertTraffic::dispatch_backward_start(const Exec& exec, const std::vector<Experts::Gradients>& d, DType wire) {
  wire_ = wire, weighted_ = false;
  std::vector<RowsBack> back(d.size());
  const std::vector<size_t> blocks = blocks_by_source();
  for (size_t s = 0; s < d.size(); ++s) {
    const std::vector<int32_t>& position = arrived_[blocks[s]].position;
    back[blocks[s]] = {d[s].rows, position, numbers_at(exec, d[s].weight, position)};
  }
  start_back(exec, std::move(back));
}

Tensor ExpertTraffic::dispatch_backward_wait(const Exec& exec, const Tensor& dx, ops::Write write) {
  return wait_back(exec, dx, write).numbers;
}

}  // namespace hadal
