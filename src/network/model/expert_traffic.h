// ExpertTraffic: what one MoE layer of one flight says to the ranks that hold the experts, and remembers of it. A
// token's row goes to its experts' ranks, their outputs come back; in B the gradient of the layer's output goes the
// same way and the gradients of rows and weights come back. What arrives is kept by source, in rank order, and each
// source's rows are ExpertRows of their own, as one rank has those of one micro-batch after another. What the experts
// make of a source's rows is handed over before they turn to the next.
//
// A token's experts inside one routing group are added where all of them are, the sum is rounded to the wire type and
// travels; its owner adds the groups in order (§1.5). So every number has the bits of one rank. Two forms:
//   one hop   groups lie whole on members: a token goes once to each member, a row per group comes back. Else: outputs
//             come back, and the owner adds.
//   two hops  (§3.3) a token crosses to a node once, to the member with this rank's index there, which passes it on
//             inside the node; outputs come back to that member, which adds up the groups, and a row per group crosses.
//             Between a start and its wait the rows are passed on: that awaits the first hop and starts the second.
// All of a layer's calls come on all members of its groups, in the same order, whether a rank has tokens or not.
#pragma once
#include <memory>

#include "model/expert_hop.h"
#include "model/experts.h"
#include "nn/partners.h"
#include "ops/routing.h"

namespace hadal {

// Where each expert lies: on which member of the experts' group, in which of its slots. Nothing else says so.
struct ExpertPlaces {
  std::vector<int32_t> member, slot;
};
ExpertPlaces expert_places(int64_t n_experts, int n_members);

// Whether experts are spread over ranks at all; and whether rows go to them in two hops.
bool experts_are_spread(const Partners& partners);
bool experts_take_two_hops(const Partners& partners);

class ExpertTraffic {
 public:
  // held: the box of the stacked weights of this rank. Throws invalid where groups do not lie whole on nodes.
  ExpertTraffic(const Partners& partners, const ops::RouteRule& rule, const Box& held);

  // F. Routes empty: no tokens here.
  void dispatch_start(const Exec& exec, const Activation& x, const ops::Routes& routes);
  void dispatch_pass_on(const Exec& exec);  // where rows take two hops, and so with the others
  std::vector<ExpertRows> dispatch_wait(const Exec& exec);
  void take_outputs(const Exec& exec, size_t source, const Tensor& outputs, DType wire);
  void combine_start(const Exec& exec) { start_back(exec); }
  void combine_pass_on(const Exec& exec) { pass_back_on(exec); }
  void combine_wait(const Exec& exec, const Tensor& y);  // y +=

  // B. Rows of dy come as those of x did, by source.
  void combine_backward_start(const Exec& exec, const Activation& dy);
  void combine_backward_pass_on(const Exec& exec);
  std::vector<Activation> combine_backward_wait(const Exec& exec);
  void take_gradients(const Exec& exec, size_t source, const Experts::Gradients& d, DType wire);
  void dispatch_backward_start(const Exec& exec) { start_back(exec); }
  void dispatch_backward_pass_on(const Exec& exec) { pass_back_on(exec); }
  Tensor dispatch_backward_wait(const Exec& exec, const Tensor& dx, ops::Write write);  // dx (+)=; [pairs] d weights

 private:
  ExpertRows arrived(const Exec& exec, const TokenBlock& block, std::vector<int32_t>& position) const;
  size_t block_of(size_t source) const;
  size_t source_of(size_t block) const;
  void take_back(const Exec& exec, size_t source, RowsBack of_pairs);
  void start_back(const Exec& exec);
  void pass_back_on(const Exec& exec);
  Tensor sums_of_groups(const Exec& exec, const TokenBlock& block, const std::vector<Tensor>& of_pairs,
                        const std::vector<int32_t>& places) const;
  Tensor wait_back(const Exec& exec, const Tensor& y, ops::Write write);  // y (+)= totals of own tokens; the numbers

  ExpertPlaces places_;
  int64_t n_slots_, experts_per_group_;
  std::unique_ptr<ExpertHop> across_, within_;  // null: that hop leads nowhere else
  size_t n_across_ = 1, n_within_ = 1;
  std::vector<TokenBlock> own_;                 // one: this rank's tokens
  std::vector<TokenBlock> crossed_;             // those that crossed to this rank, by member of `across`
  std::vector<std::vector<int32_t>> position_;  // by block at the experts: of each pair the row sorted by expert
  std::vector<RowsBack> back_;                  // by block, before they are sent
  DType wire_ = DType::f32;
  bool weighted_ = false;  // the sums under way
};

}  // namespace hadal
