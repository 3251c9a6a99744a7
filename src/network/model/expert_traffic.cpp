#include "model/expert_traffic.h"

#include <numeric>
#include <ranges>

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

// What came in a message, as memory of this rank; on a device it is copied there.
Tensor kept(const Exec& exec, const Tensor& x) {
  if (!x.owner() || exec.memory->device()) return x.clone(exec);
  return Tensor::wrap(x.raw(), x.dtype(), x.shape(), x.row_stride(), exec.memory->adopt(x.owner(), size_t(x.bytes())));
}
Activation kept(const Exec& exec, const Activation& x) {
  if (!x.is_quantised()) return kept(exec, x.tensor());
  Quantised codes = x.quantised();
  codes.codes = kept(exec, codes.codes), codes.scales = kept(exec, codes.scales);
  return codes;
}

std::vector<RowsThatCame> received_back(const Exec& exec, ExpertHop& hop) {
  std::vector<RowsThatCame> back = hop.receive_back(exec);
  for (RowsThatCame& came : back)
    for (Tensor& rows : came.rows) rows = kept(exec, rows);
  return back;
}

// Rows of one tensor as ops::RowLists names them.
template <class Rows>
std::vector<int32_t> places_in_one(const Rows& rows) {
  std::vector<int32_t> places;
  places.reserve(2 * rows.size());
  for (const int32_t row : rows) places.insert(places.end(), {0, row});
  return places;
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
  if (within) within_ = std::make_unique<ExpertHop>(*within, places_in_node(places_, int(n_within_)), 1, places_.slot);
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

// Sorted by expert, tokens ascending within one, as the plan of one rank sorts them (ops::make_plan).
ExpertRows ExpertTraffic::arrived(const Exec& exec, const TokenBlock& block, std::vector<int32_t>& position) const {
  std::vector<int32_t> offsets(size_t(n_slots_) + 1, 0);
  for (const int32_t expert : block.experts) ++offsets[size_t(places_.slot[size_t(expert)]) + 1];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  std::vector<int32_t> next = offsets, token(block.experts.size()), pair(block.experts.size());
  position.resize(block.experts.size());
  for (int64_t t = 0; t < block.n_tokens(); ++t) {
    for (int32_t p = block.begin[size_t(t)]; p < block.begin[size_t(t) + 1]; ++p) {
      const int32_t row = next[size_t(places_.slot[size_t(block.experts[size_t(p)])])]++;
      token[size_t(row)] = int32_t(t), pair[size_t(row)] = p;
      position[size_t(p)] = row;
    }
  }
  return {kept(exec, block.rows), list(exec, token), numbers_at(exec, block.weights, pair), list(exec, offsets)};
}

// Blocks came by member within the node, and for each of these by node.
size_t ExpertTraffic::block_of(size_t source) const { return source % n_within_ * n_across_ + source / n_within_; }
size_t ExpertTraffic::source_of(size_t block) const { return block % n_across_ * n_within_ + block / n_across_; }

void ExpertTraffic::dispatch_pass_on(const Exec& exec) {
  crossed_ = across_->receive(exec);
  within_->send(exec, crossed_);
  for (TokenBlock& block : crossed_) block.rows.reset();
}

std::vector<ExpertRows> ExpertTraffic::dispatch_wait(const Exec& exec) {
  std::vector<TokenBlock> blocks = (within_ ? within_ : across_)->receive(exec);
  position_.assign(blocks.size(), {});
  std::vector<ExpertRows> by_source(blocks.size());
  for (size_t b = 0; b < blocks.size(); ++b) {
    by_source[source_of(b)] = arrived(exec, blocks[b], position_[b]);
    blocks[b].rows.reset();  // kept as long as the experts need them
  }
  if (!within_) crossed_ = std::move(blocks);
  return by_source;
}

// What comes back from the experts; where nothing travels inside a node, sums of groups.
void ExpertTraffic::take_back(const Exec& exec, size_t source, RowsBack of_pairs) {
  const size_t b = block_of(source);
  if (!within_) of_pairs.rows = sums_of_groups(exec, crossed_[b], {of_pairs.rows}, places_in_one(position_[b]));
  back_.resize(position_.size());
  back_[b] = std::move(of_pairs);
}

void ExpertTraffic::start_back(const Exec& exec) {
  (within_ ? within_ : across_)->send_back(exec, std::exchange(back_, {}));
}

void ExpertTraffic::pass_back_on(const Exec& exec) {
  std::vector<RowsBack> sums;
  for (RowsThatCame& came : received_back(exec, *within_)) {
    sums.push_back({sums_of_groups(exec, crossed_[sums.size()], came.rows, came.places), came.numbers});
    came.rows.clear();
  }
  across_->send_back(exec, std::move(sums));
}

Tensor ExpertTraffic::sums_of_groups(const Exec& exec, const TokenBlock& block, const std::vector<Tensor>& of_pairs,
                                     const std::vector<int32_t>& places) const {
  const std::vector<int32_t> bounds = expert_runs(block, experts_per_group_);
  const Tensor sums = Tensor::empty(exec, wire_, {int64_t(bounds.size()) - 1, of_pairs[0].cols()});
  ops::group_sums(exec, sums, of_pairs, {list(exec, bounds), list(exec, places)}, weighted_ ? block.weights : Tensor());
  return sums;
}

Tensor ExpertTraffic::wait_back(const Exec& exec, const Tensor& y, ops::Write write) {
  const TokenBlock& own = own_[0];
  RowsThatCame back = std::move(received_back(exec, *(across_ ? across_ : within_))[0]);
  if (!across_) {
    back.rows = {sums_of_groups(exec, own, back.rows, back.places)};
    back.places = places_in_one(std::views::iota(int32_t(0), int32_t(back.rows[0].rows())));
  }
  if (own.n_tokens() == 0) return back.numbers;
  const std::vector<int32_t> bounds = expert_runs(own, experts_per_group_);
  std::vector<int32_t> begin = {0};  // of each token's groups
  for (int64_t t = 1, run = 0; t <= own.n_tokens(); ++t) {
    while (bounds[size_t(run)] < own.begin[size_t(t)]) ++run;
    begin.push_back(int32_t(run));
  }
  ops::group_totals(exec, y, back.rows, {list(exec, begin), list(exec, back.places)}, write);
  return back.numbers;
}

void ExpertTraffic::take_outputs(const Exec& exec, size_t source, const Tensor& outputs, DType wire) {
  wire_ = wire, weighted_ = true;
  take_back(exec, source, {outputs, {}});
}

void ExpertTraffic::combine_wait(const Exec& exec, const Tensor& y) { wait_back(exec, y, ops::Write::add); }

void ExpertTraffic::combine_backward_start(const Exec& exec, const Activation& dy) {
  (across_ ? across_ : within_)->send_rows(exec, {dy});
}

void ExpertTraffic::combine_backward_pass_on(const Exec& exec) { within_->send_rows(exec, across_->receive_rows()); }

std::vector<Activation> ExpertTraffic::combine_backward_wait(const Exec& exec) {
  std::vector<Activation> blocks = (within_ ? within_ : across_)->receive_rows(), by_source(blocks.size());
  for (size_t b = 0; b < blocks.size(); ++b) {
    by_source[source_of(b)] = kept(exec, blocks[b]);
    blocks[b].reset();
  }
  return by_source;
}

void ExpertTraffic::take_gradients(const Exec& exec, size_t source, const Experts::Gradients& d, DType wire) {
  wire_ = wire, weighted_ = false;
  const std::vector<int32_t>& position = position_[block_of(source)];
  take_back(exec, source, {d.rows, numbers_at(exec, d.weight, position)});
}

Tensor ExpertTraffic::dispatch_backward_wait(const Exec& exec, const Tensor& dx, ops::Write write) {
  return wait_back(exec, dx, write);
}

}  // namespace hadal
